import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { inTransaction } from './in-transaction.ts';
import type { Database, Transaction } from './open-database.ts';

/** A day: longer than any client repeats a request. */
export const idempotencyKeptMs = 24 * 60 * 60 * 1000;

export interface IdempotencyRequest {
  /** Who sends it: keys of two senders never meet. */
  readonly scope: string;
  /** The Idempotency-Key as sent. */
  readonly key: string;
  /** Equal for equal requests: SHA-256 of method, path and body. */
  readonly requestHash: string;
}

/**
 * Creates rows, or finds those that the same request created before: the key and the rows are committed together, so of two
 * that come at once one waits and then finds. Code: idempotency_key_reused, when the key came with another request.
 */
export async function withIdempotency<T extends { readonly id: string }>(
  tx: Transaction,
  request: IdempotencyRequest,
  create: () => Promise<readonly T[]>,
  find: (ids: readonly string[]) => Promise<readonly T[]>,
): Promise<{ rows: readonly T[]; replayed: boolean }> {
  const { scope, key, requestHash } = request;
  // Waits for another transaction that has inserted the same key until it ends.
  const { count } = await tx.idempotencyKey.createMany({ data: [{ scope, key, requestHash, subjectId: '' }], skipDuplicates: true });
  const where = { scope_key: { scope, key } };
  if (count === 0) {
    const before = await tx.idempotencyKey.findUniqueOrThrow({ where });
    if (before.requestHash !== requestHash) {
      throw new HoldfastError('idempotency_key_reused', `the Idempotency-Key ${key} was used for another request`);
    }
    return { rows: await find(before.subjectId === '' ? [] : before.subjectId.split(',')), replayed: true };
  }
  const rows = await create();
  await tx.idempotencyKey.update({ where, data: { subjectId: rows.map((row) => row.id).join(',') } });
  return { rows, replayed: false };
}

/**
 * Accepts one run: its row, its event and its idempotency record in one transaction. `find` gives the row of a repeated request.
 * Codes: those of `create`, idempotency_key_reused, database_unreachable.
 */
export async function acceptRun<T extends { readonly id: string }>(
  db: Database,
  idempotency: IdempotencyRequest | null,
  create: (tx: Transaction) => Promise<T>,
  find: (tx: Transaction, id: string) => Promise<T>,
): Promise<{ row: T; replayed: boolean }> {
  const { rows, replayed } = await acceptRuns(db, idempotency, async (tx) => [await create(tx)], find);
  const row = rows[0];
  if (row === undefined) throw new HoldfastError('not_found', 'the row that the first request made is gone');
  return { row, replayed };
}

/** acceptRun for a request that makes several rows, or none. */
export async function acceptRuns<T extends { readonly id: string }>(
  db: Database,
  idempotency: IdempotencyRequest | null,
  create: (tx: Transaction) => Promise<readonly T[]>,
  find: (tx: Transaction, id: string) => Promise<T>,
): Promise<{ rows: readonly T[]; replayed: boolean }> {
  return inTransaction(
    db,
    async (tx) => {
      if (idempotency === null) return { rows: await create(tx), replayed: false };
      const findAll = (ids: readonly string[]): Promise<T[]> => Promise.all(ids.map((id) => find(tx, id)));
      return withIdempotency(tx, idempotency, () => create(tx), findAll);
    },
    // With a key it finds out by itself that it was committed; without one a repetition would make a second run.
    { repeatable: idempotency !== null },
  );
}

/** Drops keys that no client repeats any more; gives how many. */
export async function sweepIdempotencyKeys(rows: Transaction, now: Date): Promise<number> {
  const where = { createdAt: { lt: new Date(now.getTime() - idempotencyKeptMs) } };
  const { count } = await rows.idempotencyKey.deleteMany({ where });
  return count;
}
