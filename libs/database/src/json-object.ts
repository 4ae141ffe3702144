import type { Prisma } from '../generated/client.ts';

/**
 * A value as JSON sees it, for a JSON column: undefined is left out, dates become text. A bigint throws, since JSON has none.
 * A NUL and a lone surrogate, which stands for a byte of a file name that is not UTF-8, would be refused by PostgreSQL: they become
 * text such as `\x00` and `\xe9`.
 */
export function jsonInput(value: object): Prisma.InputJsonObject {
  const copy: Prisma.InputJsonObject = JSON.parse(JSON.stringify(value), (_key, field: unknown) =>
    typeof field === 'string' ? storableText(field) : field,
  );
  return copy;
}

const unstorable = /[\0\p{Surrogate}]/gu;

function storableText(text: string): string {
  if (text.isWellFormed() && !text.includes('\0')) return text;
  return text.replaceAll(unstorable, (character) => String.raw`\x${(character.charCodeAt(0) & 0xff).toString(16).padStart(2, '0')}`);
}

/** A JSON object whose values were checked, or made, by whoever hands it on. */
export interface JsonObject {
  readonly [key: string]: unknown;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
