import { z } from 'zod';

/** Cuids have 25 characters; anything that could not be an id of ours is refused before it reaches the database. */
const idMaxChars = 64;
export const nameMaxChars = 200;
export const descriptionMaxChars = 10_000;
/** A page is one answer of at most a few hundred KiB. */
export const pageMaxCount = 200;
export const pageDefaultCount = 50;
const cursorMaxChars = 500;
/** Free JSON (procedures, contacts) is kept as it is: this is as deep as anybody writes by hand. */
const jsonMaxDepth = 32;

export const idSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]+$/u, 'is not an id')
  .max(idMaxChars);

/** Text that PostgreSQL can store: no NUL, no half of a surrogate pair. Not blank, and trimmed. */
export function textSchema(maxChars: number) {
  return z
    .string()
    .trim()
    .min(1)
    .max(maxChars)
    .refine(isStorable, 'holds a character that cannot be stored (NUL or half a surrogate pair)');
}

/** Any JSON that PostgreSQL can store. */
export const jsonSchema = z
  .json()
  .refine((value) => isStorableJson(value, 0), `is deeper than ${jsonMaxDepth} levels, or holds text that cannot be stored (NUL)`);

export const timeSchema = z.iso.datetime({ offset: true, error: 'must be a time such as 2026-01-31T12:00:00Z' });

/** A query string's yes or no. */
export const queryBooleanSchema = z.enum(['true', 'false']).transform((text) => text === 'true');

export const idParamsSchema = z.strictObject({ id: idSchema.describe('Id of the row') });

export const listQuerySchema = z.strictObject({
  entityId: idSchema.optional().describe('Only of this business entity'),
  from: timeSchema.optional().describe('Created at or after this time'),
  to: timeSchema.optional().describe('Created before this time'),
  limit: z.coerce.number().int().min(1).max(pageMaxCount).default(pageDefaultCount).describe(`Rows a page, at most ${pageMaxCount}`),
  cursor: z.string().max(cursorMaxChars).optional().describe('`nextCursor` of the page before'),
});

export function pageSchema<Item extends z.ZodType>(item: Item) {
  return z.object({
    items: z.array(item),
    nextCursor: z.string().nullable().describe('Send it as `cursor` for the next page; null on the last one'),
  });
}

const keyMaxChars = 255;

/** Other headers pass untouched. */
export const idempotencyHeadersSchema = z.looseObject({
  'idempotency-key': z
    .string()
    .min(1)
    .max(keyMaxChars)
    .regex(/^[\x20-\x7e]+$/u, 'must be printable ASCII')
    .optional()
    .describe('A repetition with the same key, body and path gets the answer of the first request and starts nothing'),
});

function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

function isStorableJson(value: unknown, depth: number): boolean {
  if (depth > jsonMaxDepth) return false;
  if (typeof value === 'string') return isStorable(value);
  if (Array.isArray(value)) return value.every((item) => isStorableJson(item, depth + 1));
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).every(([key, item]) => isStorable(key) && isStorableJson(item, depth + 1));
  }
  return true;
}
