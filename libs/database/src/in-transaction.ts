import { setTimeout as delay } from 'node:timers/promises';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { isSerializationFailure, isTransactionTimeout, translateDatabaseError } from './database-error.ts';
import type { Database, Transaction } from './open-database.ts';

/** A row of ours is locked at most for a commit under fence; beyond that a waiting transaction gives up. */
const defaultTimeoutMs = 45_000;

/** How long a transaction waits for a connection of its own pool before it says database_unreachable. */
const poolWaitMs = 10_000;

/** Six tries, 1.5 s in all: longer than PostgreSQL needs to come back from a crash of small data, shorter than a client waits. */
const maxTries = 6;
const firstPauseMs = 50;

export interface TransactionOptions {
  /** The transaction is rolled back when it takes longer; 45 s when not given. */
  readonly timeoutMs?: number;
  /**
   * Also run `fn` again when the connection was lost while committing, when nobody knows whether it was committed: only for
   * what finds out by itself that it has already happened.
   */
  readonly repeatable?: boolean;
}

/**
 * Runs `fn` in one transaction and commits it, or rolls back when `fn` throws. Run again after a serialization failure or a
 * deadlock, and after a lost connection that cannot have committed: so `fn` touches nothing but `tx`.
 * Codes: database_unreachable, and what `fn` throws.
 */
export async function inTransaction<T>(db: Database, fn: (tx: Transaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
  for (let tries = 1; ; tries++) {
    let committing = false;
    try {
      return await runTransaction(db, options.timeoutMs ?? defaultTimeoutMs, async (tx) => {
        const value = await fn(tx);
        committing = true;
        return value;
      });
    } catch (error) {
      const isLost = isHoldfastError(error, 'database_unreachable') && !isTransactionTimeout(error);
      const mayRepeat = isSerializationFailure(error) || (isLost && (!committing || options.repeatable === true));
      if (tries === maxTries || !mayRepeat) throw error;
      // Not all at once: those that met in a deadlock would meet again.
      await delay(firstPauseMs * 2 ** (tries - 1) * (0.5 + Math.random() / 2));
    }
  }
}

/** One transaction, never repeated: for `fn` that does more than write rows. */
export async function runTransaction<T>(db: Database, timeoutMs: number, fn: (tx: Transaction) => Promise<T>): Promise<T> {
  try {
    return await db.client.$transaction(fn, { timeout: timeoutMs, maxWait: poolWaitMs });
  } catch (error) {
    throw translateDatabaseError(error);
  }
}
