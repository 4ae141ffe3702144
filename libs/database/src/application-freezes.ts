import type { ApplicationFreeze } from '../generated/client.ts';
import { advisoryLocks } from './advisory-lock.ts';
import { appendEvent } from './events.ts';
import { jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';

/**
 * Applications that stand still for a backup. A row is written before the freeze hook is called and goes when the thaw hook has succeeded, so
 * that whatever dies in between somebody knows what is still to be thawed.
 */
export type ApplicationFreezeRow = ApplicationFreeze;

export interface FreezeInput {
  /** The backup job. */
  readonly id: string;
  readonly businessEntityId: string;
  readonly backupConfigId: string;
  /** The hook that thaws; without a secret. */
  readonly thaw: JsonObject;
  readonly hostname: string;
  readonly fencingNumber: bigint;
  readonly frozenAt: Date;
  /** When whoever froze it should long have thawed it. */
  readonly thawDueAt: Date;
}

/** A try that failed. */
export interface ThawFailure {
  /** For people; without a secret. */
  readonly message: string;
  /** Null when it is not tried again. */
  readonly retryAt: Date | null;
}

/** Notes that an application is about to be frozen. A note that is there already is replaced: thaw first. */
export async function noteFreeze(tx: Transaction, input: FreezeInput): Promise<void> {
  await lockFreeze(tx, input.id);
  const { id, thaw, thawDueAt, ...rest } = input;
  const data = { ...rest, thaw: jsonInput(thaw), thawDueAt, failedCount: 0, lastError: null, retryAt: thawDueAt };
  await tx.applicationFreeze.upsert({ where: { id }, create: { id, ...data }, update: data });
}

/** The note of a backup job; null when nothing is to be thawed. */
export async function findFreeze(rows: Transaction, id: string): Promise<ApplicationFreezeRow | null> {
  return await rows.applicationFreeze.findUnique({ where: { id } });
}

/** Until the transaction ends nobody else thaws for this backup job, and nobody notes a freeze of it. */
export async function lockFreeze(tx: Transaction, id: string): Promise<void> {
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(${advisoryLocks.thawApplication}::int, hashtext(${id}))`;
}

/**
 * What is to be thawed by whoever sees it, oldest first: whose time has come, and what was frozen by a run that nobody works on any more.
 * `silentMs`: a run without a heartbeat for so long is nobody's.
 */
export async function dueFreezes(
  rows: Transaction,
  { now, silentMs, limit }: { readonly now: Date; readonly silentMs: number; readonly limit: number },
): Promise<Pick<ApplicationFreezeRow, 'id' | 'fencingNumber' | 'hostname'>[]> {
  return await rows.$queryRaw`
    SELECT noted."id", noted."fencingNumber", noted."hostname" FROM "application_freezes" noted
    LEFT JOIN "backup_jobs" job ON job."id" = noted."id"
    WHERE noted."retryAt" <= ${now} OR (noted."failedCount" = 0 AND (job."id" IS NULL OR job."status" <> 'running'
      OR job."heartbeatAt" < clock_timestamp() - ${silentMs} * interval '1 millisecond'))
    ORDER BY noted."frozenAt" LIMIT ${limit}`;
}

/** It is thawed. Repeating it is no error. */
export async function forgetFreeze(
  tx: Transaction,
  { id, fencingNumber }: Pick<ApplicationFreezeRow, 'id' | 'fencingNumber'>,
): Promise<void> {
  await tx.applicationFreeze.deleteMany({ where: { id, fencingNumber } });
}

/** Notes that it could not be thawed, and tells it as an event: an application that stands still is news every time. */
export async function noteThawFailure(tx: Transaction, freeze: ApplicationFreezeRow, { message, retryAt }: ThawFailure): Promise<void> {
  const { id, fencingNumber, businessEntityId, backupConfigId } = freeze;
  const data = { failedCount: { increment: 1 }, lastError: message, retryAt };
  const { count } = await tx.applicationFreeze.updateMany({ where: { id, fencingNumber }, data });
  if (count === 0) return;
  const event = { message, frozenAt: freeze.frozenAt.toISOString(), retryAt: retryAt?.toISOString() ?? null, backupConfigId };
  await appendEvent(tx, { businessEntityId, type: 'backup.thaw_failed', subjectKind: 'backup', subjectId: id, data: event });
}
