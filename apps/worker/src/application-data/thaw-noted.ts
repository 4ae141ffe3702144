import { setTimeout as delay } from 'node:timers/promises';
import { findFreeze, forgetFreeze, lockFreeze, noteThawFailure, type ApplicationFreezeRow } from '@holdfast/database/application-freezes';
import { inTransaction, runTransaction } from '@holdfast/database/in-transaction';
import { asHoldfastError, HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { storedHookSchema, type HookOptions } from '@holdfast/sources/source-options/hooks';
import { z } from 'zod';
import type { WorkerContext } from '../worker-context.ts';
import { callHook, hookCallOf, type HookAnswer, type HookCall } from './call-hook.ts';

/** What a note says of the hook that thaws. */
export const notedThawSchema = z.object({ hook: storedHookSchema, place: z.string().nullable() });
export type NotedThaw = z.infer<typeof notedThawSchema>;

/** At once, a second later and three seconds after that: an application that restarts, or a server that was busy. */
const pausesMs = [0, 1_000, 3_000] as const;
/** Then it is left to people, who have heard of each of them. */
const maxFailedCount = 20;
const retryAfterMs = 30_000;
/** Beside the calls themselves. */
const marginMs = 30_000;

export type ThawOutcome =
  | { readonly kind: 'thawed'; readonly answer: HookAnswer }
  /** Somebody else has done it, or has frozen it again and will. */
  | { readonly kind: 'not_ours' }
  | { readonly kind: 'failed'; readonly error: HoldfastError };

/**
 * Thaws what a note says, if it is still there and of that attempt, and takes the note away; tries three times. No two processes do it at once, so
 * that none thaws what another one has frozen again. A failure is on the row and an event. Code: database_unreachable.
 */
export async function thawNoted(
  context: WorkerContext,
  { id, fencingNumber }: Pick<ApplicationFreezeRow, 'id' | 'fencingNumber'>,
): Promise<ThawOutcome> {
  const { database } = context;
  const noted = await findFreeze(database.client, id);
  if (noted === null || noted.fencingNumber !== fencingNumber) return { kind: 'not_ours' };
  const { hook } = notedThawSchema.parse(noted.thaw);
  return await runTransaction(database, thawLimitMs(hook), async (tx) => {
    await lockFreeze(tx, id);
    const freeze = await findFreeze(tx, id);
    if (freeze === null || freeze.fencingNumber !== fencingNumber) return { kind: 'not_ours' };
    try {
      const answer = await thawPatiently(hook, await thawCall(context, freeze));
      await forgetFreeze(tx, freeze);
      return { kind: 'thawed', answer };
    } catch (error) {
      if (isHoldfastError(error, 'database_unreachable')) throw error;
      return { kind: 'failed', error: await tellFailure(context, freeze, error) };
    }
  });
}

/** For who has frozen it and finds no database: the note stays, and it is thawed once more when somebody finds it. */
export async function thawWithoutNote(hook: HookOptions, call: Omit<HookCall, 'action' | 'signal'>): Promise<ThawOutcome> {
  try {
    return { kind: 'thawed', answer: await thawPatiently(hook, call) };
  } catch (error) {
    return { kind: 'failed', error: asHoldfastError(error) };
  }
}

/** How long three tries may take. */
export function thawLimitMs({ timeoutSeconds }: HookOptions): number {
  return pausesMs.length * timeoutSeconds * 1000 + marginMs;
}

async function thawCall(context: WorkerContext, { id, backupConfigId, thaw }: ApplicationFreezeRow) {
  const { place } = notedThawSchema.parse(thaw);
  return await hookCallOf(context, { jobId: id, configId: backupConfigId, place });
}

/** Not to be cancelled: whoever is stopped leaves an application that goes on. Each try has its own limit. */
async function thawPatiently(hook: HookOptions, call: Omit<HookCall, 'action' | 'signal'>): Promise<HookAnswer> {
  let failure: unknown;
  for (const pauseMs of pausesMs) {
    await delay(pauseMs);
    try {
      return await callHook(hook, { ...call, action: 'thaw', signal: new AbortController().signal });
    } catch (error) {
      failure = error;
      if (!isHoldfastError(error, 'hook_failed')) break;
    }
  }
  throw failure;
}

async function tellFailure(
  { database, clock, logger }: WorkerContext,
  freeze: ApplicationFreezeRow,
  cause: unknown,
): Promise<HoldfastError> {
  const error = asHoldfastError(cause);
  const isLast = freeze.failedCount + 1 >= maxFailedCount;
  const retryAt = isLast ? null : new Date(clock.now().getTime() + retryAfterMs);
  const what = `the application is frozen and could not be thawed: ${error.message}`;
  const message = isLast ? `${what}; it is not tried again, thaw it by hand` : what;
  // A transaction of its own: what has gone wrong is told, whatever becomes of the lock.
  await inTransaction(database, (tx) => noteThawFailure(tx, freeze, { message, retryAt }));
  logger.error({ jobId: freeze.id, backupConfigId: freeze.backupConfigId, code: error.code }, message);
  return new HoldfastError(error.code, message, { cause: error });
}
