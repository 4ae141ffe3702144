import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** More would make one answer and one query too large. */
export const maxPageSize = 200;
export const defaultPageSize = 50;

/** Part of a list, newest first. */
export interface Page<T> {
  readonly items: T[];
  /** Where the next page begins; null when this is the last one. */
  readonly nextCursor: string | null;
}

export interface PageRequest {
  /** 1..200, 50 when not given. */
  readonly limit?: number | undefined;
  /** `nextCursor` of the page before. */
  readonly cursor?: string | undefined;
}

interface Listed {
  readonly id: string;
  readonly createdAt: Date;
}

interface PageQuery {
  readonly where: object;
  readonly orderBy: [{ createdAt: 'desc' }, { id: 'desc' }];
  readonly take: number;
}

/**
 * Reads one page: by time of creation, then id, newest first, so that rows made meanwhile move nothing.
 * Code: request_invalid for a cursor that no page gave.
 */
export async function readPage<T extends Listed>(
  request: PageRequest,
  where: object,
  read: (query: PageQuery) => Promise<T[]>,
): Promise<Page<T>> {
  const limit = Math.min(Math.max(request.limit ?? defaultPageSize, 1), maxPageSize);
  const after = request.cursor === undefined ? [] : [beyond(decodeCursor(request.cursor))];
  // One row more than asked for tells whether another page follows.
  const items = await read({ where: { AND: [where, ...after] }, orderBy: [{ createdAt: 'desc' }, { id: 'desc' }], take: limit + 1 });
  const last = items.length > limit ? items[limit - 1] : undefined;
  return { items: items.slice(0, limit), nextCursor: last === undefined ? null : encodeCursor(last) };
}

/** `from` (inclusive) to `to` (exclusive), either of them open. */
export function createdBetween(from: Date | undefined, to: Date | undefined): { createdAt?: { gte?: Date; lt?: Date } } {
  if (from === undefined && to === undefined) return {};
  return { createdAt: { ...(from === undefined ? {} : { gte: from }), ...(to === undefined ? {} : { lt: to }) } };
}

function beyond({ createdAt, id }: Listed): object {
  return { OR: [{ createdAt: { lt: createdAt } }, { createdAt, id: { lt: id } }] };
}

/** `<milliseconds since 1970>.<id>` in base64url; opaque to clients. */
function encodeCursor({ createdAt, id }: Listed): string {
  return Buffer.from(`${createdAt.getTime()}.${id}`).toString('base64url');
}

function decodeCursor(cursor: string): Listed {
  const match = /^(\d{1,15})\.([a-z0-9]{1,64})$/u.exec(Buffer.from(cursor, 'base64url').toString('latin1'));
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new HoldfastError('request_invalid', 'the cursor is not one that a list gave', { hint: 'leave it out to begin anew' });
  }
  return { createdAt: new Date(Number(match[1])), id: match[2] };
}
