/** An identifier as SQL takes it, always quoted: `"Order"`. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text as SQL takes it; backslashes mean themselves, whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? ` E${quoted.replaceAll('\\', String.raw`\\`)}` : quoted;
}

export interface QualifiedName {
  readonly schema: string;
  readonly name: string;
}

export function quoteName({ schema, name }: QualifiedName): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
}

/** For messages and the manifest: `public.orders`. */
export function displayName({ schema, name }: QualifiedName): string {
  return `${schema}.${name}`;
}
