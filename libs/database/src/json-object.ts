import type { Prisma } from '../generated/client.ts';

/** A value as JSON sees it, for a JSON column: undefined is left out, dates become text. A bigint throws, since JSON has none. */
export function jsonInput(value: object): Prisma.InputJsonObject {
  const copy: Prisma.InputJsonObject = JSON.parse(JSON.stringify(value));
  return copy;
}

/** A JSON object whose values were checked, or made, by whoever hands it on. */
export interface JsonObject {
  readonly [key: string]: unknown;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
