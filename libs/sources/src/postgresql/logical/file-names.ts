import type { QualifiedName } from './quote.ts';

/** NAME_MAX of Linux is 255 bytes; room for an ending. */
const maxNameBytes = 240;

/**
 * A catalog name as a file name: `%`, `/`, `.` and control characters are percent-encoded, so that a dot between schema and table is
 * always the border between them.
 */
export function encodeName(name: string): string {
  return name.replaceAll(
    // oxlint-disable-next-line no-control-regex -- they are what a file name should not hold
    /[%/.\u0000-\u001f\u007f]/gu,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}

/** `public.orders.sql`; of a name that no file could have, its oid. The manifest says which is which. */
export function tableFileName({ schema, name, oid }: QualifiedName & { readonly oid: string }): string {
  const encoded = `${encodeName(schema)}.${encodeName(name)}`;
  return `${Buffer.byteLength(encoded) > maxNameBytes ? `oid-${oid}` : encoded}.sql`;
}

/** As a Source has to list them. */
export function compareNames(a: { readonly name: string }, b: { readonly name: string }): number {
  return Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));
}
