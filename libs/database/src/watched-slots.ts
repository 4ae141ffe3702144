import type { BackupConfig, ReplicationSlot, SlotLevel } from '../generated/client.ts';
import { appendEvent, type NewEvent } from './events.ts';
import type { Transaction } from './open-database.ts';
import { releaseReplicationSlot, type ReplicationSlotRow } from './replication-slots.ts';

/** A slot with what the configs say now. */
export interface WatchedSlot extends ReplicationSlotRow {
  readonly backupConfig: Pick<BackupConfig, 'businessEntityId' | 'source' | 'deletedAt'>;
  /** The config whose server it was made at. */
  readonly baseConfig: Pick<BackupConfig, 'id' | 'source'>;
  /** The config that the slot's config builds on now; null when it names none. */
  readonly wantedBase: Pick<BackupConfig, 'id' | 'source'> | null;
  /** The config's slots that were made, this one too. */
  readonly made: readonly Pick<ReplicationSlot, 'name' | 'server'>[];
}

const omit = { sealedPassword: true } as const;
const include = {
  backupConfig: { select: { businessEntityId: true, source: true, deletedAt: true } },
  baseConfig: { select: { id: true, source: true } },
} as const;

/** Those that nobody has looked at since, the ones that wait longest first; at most `limit`. */
export async function slotsToWatch(rows: Transaction, checkedBefore: Date, limit: number): Promise<WatchedSlot[]> {
  const slots = await rows.replicationSlot.findMany({
    where: { OR: [{ checkedAt: null }, { checkedAt: { lt: checkedBefore } }] },
    orderBy: [{ checkedAt: { sort: 'asc', nulls: 'first' } }, { id: 'asc' }],
    take: limit,
    omit,
    include,
  });
  return await Promise.all(slots.map((slot) => withPresent(rows, slot)));
}

/** Locks the slot against a claim, and the configs against changes that would make it needed, until the transaction ends; null when it is gone. */
export async function lockSlot(tx: Transaction, id: string): Promise<WatchedSlot | null> {
  await tx.$executeRaw`SELECT 1 FROM "replication_slots" WHERE "id" = ${id} FOR UPDATE`;
  const row = await tx.replicationSlot.findUnique({ where: { id }, select: { backupConfigId: true } });
  if (row === null) return null;
  await tx.$executeRaw`SELECT 1 FROM "backup_configs" WHERE "id" = ${row.backupConfigId} FOR SHARE`;
  const slot = await tx.replicationSlot.findUnique({ where: { id }, omit, include });
  if (slot === null) return null;
  const baseConfigId = namedBase(slot.backupConfig.source);
  if (baseConfigId !== null) await tx.$executeRaw`SELECT 1 FROM "backup_configs" WHERE "id" = ${baseConfigId} FOR SHARE`;
  return await withPresent(tx, slot);
}

async function withPresent(rows: Transaction, slot: Omit<WatchedSlot, 'wantedBase' | 'made'>): Promise<WatchedSlot> {
  const { backupConfigId, backupConfig } = slot;
  const { businessEntityId, source } = backupConfig;
  const madeQuery = { where: { backupConfigId, madeAt: { not: null } }, select: { name: true, server: true } } as const;
  const made = await rows.replicationSlot.findMany(madeQuery);
  const id = namedBase(source);
  if (id === null) return { ...slot, wantedBase: null, made };
  const wantedBase = await rows.backupConfig.findFirst({ where: { id, businessEntityId }, select: { id: true, source: true } });
  return { ...slot, wantedBase, made };
}

function namedBase(source: unknown): string | null {
  const named: unknown = Reflect.get(Object(source), 'baseConfigId');
  return typeof named === 'string' ? named : null;
}

export interface SlotLook {
  readonly now: Date;
  /** False when it is to be dropped. */
  readonly isNeeded: boolean;
  /** What the server said of it; null when it could not be asked. */
  readonly seen: SlotSeen | null;
  /** Why it could not be asked, or not be dropped. */
  readonly failure: { readonly code: string; readonly message: string; readonly isLasting: boolean } | null;
}

export interface SlotSeen {
  /** Null for one that is not made yet. */
  readonly level: SlotLevel | null;
  readonly walStatus: string | null;
  /** Null when there is no such slot. */
  readonly retainedBytes: number | null;
  readonly safeBytes: number | null;
}

/**
 * Notes a look at a slot. One event tells that its level has changed; another one that it cannot be dropped until somebody mends something.
 * Gives whether the failure is another one than at the last look.
 */
export async function recordSlotLook(
  tx: Transaction,
  id: string,
  { now, isNeeded, seen, failure }: SlotLook,
): Promise<{ isNews: boolean }> {
  await tx.$executeRaw`SELECT 1 FROM "replication_slots" WHERE "id" = ${id} FOR UPDATE`;
  const before = await tx.replicationSlot.findUnique({ where: { id }, omit, include });
  if (before === null) return { isNews: false };
  const errorCode = failure?.code ?? null;
  const isNews = errorCode !== before.errorCode;
  const unwantedSince = isNeeded ? null : (before.unwantedSince ?? now);
  await tx.replicationSlot.update({
    where: { id },
    data: { checkedAt: now, errorCode, unwantedSince, ...(seen === null ? {} : seenColumns(seen, now)) },
    omit,
  });
  if (seen !== null && isChange(before.level, seen.level)) {
    const { level, walStatus, retainedBytes, safeBytes } = seen;
    await appendEvent(tx, slotEvent(before, 'slot_level_changed', { before: before.level, level, walStatus, retainedBytes, safeBytes }));
  }
  const isUnwantedSinceNow = !isNeeded && before.unwantedSince === null;
  if (!isNeeded && failure?.isLasting === true && (isNews || isUnwantedSinceNow)) {
    await appendEvent(tx, slotEvent(before, 'slot_not_dropped', { code: failure.code, message: failure.message }));
  }
  return { isNews };
}

/** It is gone from its server. Tells of it when it was there. */
export async function recordSlotDropped(tx: Transaction, slot: WatchedSlot, wasThere: boolean): Promise<void> {
  await releaseReplicationSlot(tx, slot.id);
  if (wasThere) await appendEvent(tx, slotEvent(slot, 'slot_dropped', {}));
}

function seenColumns({ level, walStatus, retainedBytes, safeBytes }: SlotSeen, now: Date) {
  return {
    level,
    walStatus,
    retainedBytes: retainedBytes === null ? null : BigInt(retainedBytes),
    safeBytes: safeBytes === null ? null : BigInt(safeBytes),
    seenAt: now,
  };
}

/** A slot that is well at the first look is no news. */
function isChange(before: SlotLevel | null, now: SlotLevel | null): boolean {
  return now !== null && now !== (before ?? 'ok');
}

type SlotEvent = 'slot_level_changed' | 'slot_not_dropped' | 'slot_dropped';

function slotEvent(
  {
    backupConfigId,
    backupConfig,
    name,
    server,
  }: Pick<ReplicationSlot, 'backupConfigId' | 'name' | 'server'> & Pick<WatchedSlot, 'backupConfig'>,
  what: SlotEvent,
  data: NewEvent['data'],
): NewEvent {
  return {
    businessEntityId: backupConfig.businessEntityId,
    type: `config.${what}`,
    subjectKind: 'config',
    subjectId: backupConfigId,
    data: { slot: name, server, ...data },
  };
}
