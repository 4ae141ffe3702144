import type { BackupConfig, BackupType } from '../generated/client.ts';
import { secretConfigColumns, type BackupConfigRow } from './backup-configs.ts';
import { appendEvent } from './events.ts';
import { jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import type { RepositoryRow } from './repositories.ts';
import type { RunStatus } from './run-states.ts';

/**
 * Rows of snapshots that no run of this database made: a completed backup job for each, under a config that takes no work and keeps
 * everything until a user says otherwise. All of it may be repeated.
 */

export interface KnownBackup {
  readonly id: string;
  readonly backupConfigId: string;
  readonly backupType: BackupType;
  readonly status: RunStatus;
  readonly snapshotId: string | null;
  readonly filePath: string | null;
}

/** Every backup of a repository, expired ones too. Tens of thousands are a few MB. */
export async function knownBackups(rows: Transaction, repositoryId: string): Promise<KnownBackup[]> {
  const select = { id: true, backupConfigId: true, backupType: true, status: true, snapshotId: true, filePath: true } as const;
  return rows.backupJob.findMany({ where: { repositoryId }, select });
}

/** What the rows of PostgreSQL backups in a repository say of them, see policy's recovery-facts; the oldest first. */
export async function databaseBackups(
  rows: Transaction,
  repositoryId: string,
): Promise<{ id: string; backupConfigId: string; metadata: unknown }[]> {
  const where = { repositoryId, backupType: { in: ['database_full' as const, 'database_incremental' as const] } };
  const select = { id: true, backupConfigId: true, metadata: true } as const;
  return rows.backupJob.findMany({ where, select, orderBy: [{ createdAt: 'asc' }, { id: 'asc' }] });
}

export interface AdoptedConfigInput {
  /** What its snapshots have in common: there is one config for it in a repository. */
  readonly adoptionKey: string;
  /** The id that it had in a database that is lost; given again when nobody has it. */
  readonly formerId?: string | undefined;
  readonly name: string;
  readonly backupType: BackupType;
  /** As parseSourceOptions takes it. */
  readonly source: JsonObject;
}

/** The config for snapshots of one kind, made when there is none. It is inactive and without a retention. Last in a transaction: it may append an event. */
export async function findOrCreateAdoptedConfig(
  tx: Transaction,
  repository: RepositoryRow,
  input: AdoptedConfigInput,
): Promise<BackupConfigRow> {
  await lockRepository(tx, repository.id);
  const { adoptionKey, formerId } = input;
  const key = { repositoryId_adoptionKey: { repositoryId: repository.id, adoptionKey } };
  const existing = await tx.backupConfig.findUnique({ where: key, omit: secretConfigColumns });
  if (existing !== null) return existing;
  const former = formerId === undefined ? null : await tx.backupConfig.findUnique({ where: { id: formerId }, omit: secretConfigColumns });
  if (former?.repositoryId === repository.id) return former;
  const columns = {
    repositoryId: repository.id,
    businessEntityId: repository.businessEntityId,
    adoptionKey,
    name: input.name,
    backupType: input.backupType,
    source: jsonInput(input.source),
    retentionDays: null,
    encryptionEnabled: repository.encryptionEnabled,
    storageLocation: repository.storageLocation,
    storageOptions: jsonInput(Object(repository.storageOptions)),
    isActive: false,
  };
  const wanted = formerId === undefined || former !== null ? columns : { ...columns, id: formerId };
  const omit = secretConfigColumns;
  const [made] = await tx.backupConfig.createManyAndReturn({ data: [wanted], skipDuplicates: true, omit });
  // Somebody else has taken the id since the look above.
  const config: Omit<BackupConfig, keyof typeof omit> = made ?? (await tx.backupConfig.create({ data: columns, omit }));
  const { id, businessEntityId, name, isActive } = config;
  await appendEvent(tx, {
    businessEntityId,
    type: 'config.created',
    subjectKind: 'config',
    subjectId: id,
    data: { name, isActive, adopted: true },
  });
  return config;
}

export interface AdoptedBackup {
  /** The id that its job had in a database that is lost; given again when nobody has it. */
  readonly formerId?: string | undefined;
  readonly backupConfigId: string;
  readonly backupType: BackupType;
  readonly snapshotId: string;
  readonly filePath: string;
  readonly fileSize: bigint | null;
  readonly checksum: string;
  readonly startTime: Date;
  readonly endTime: Date;
  readonly metadata: JsonObject;
}

/**
 * Makes a completed job for each snapshot that no row of the repository names; gives how many. They count as created when the snapshot was
 * made, so that lists have them at their place in time. No event is appended for each: thousands come at once, and their adoption has its own.
 */
export async function insertAdoptedBackups(
  tx: Transaction,
  adoption: { readonly id: string; readonly repositoryId: string; readonly businessEntityId: string },
  backups: readonly AdoptedBackup[],
): Promise<number> {
  const { repositoryId, businessEntityId } = adoption;
  // Two adoptions of one repository take turns.
  await lockRepository(tx, repositoryId);
  const named = await tx.backupJob.findMany({
    where: { repositoryId, snapshotId: { in: backups.map(({ snapshotId }) => snapshotId) } },
    select: { snapshotId: true },
  });
  const known = new Set(named.map(({ snapshotId }) => snapshotId));
  const missing = backups.filter(({ snapshotId }) => !known.has(snapshotId));
  const rowOf = ({ formerId, metadata, startTime, endTime, ...columns }: AdoptedBackup, keepId: boolean) => ({
    ...columns,
    ...(keepId && formerId !== undefined ? { id: formerId } : {}),
    businessEntityId,
    repositoryId,
    adoptionJobId: adoption.id,
    metadata: jsonInput(metadata),
    status: 'completed' as const,
    startTime,
    endTime,
    duration: BigInt(Math.max(0, endTime.getTime() - startTime.getTime())),
    createdAt: startTime,
  });
  const select = { snapshotId: true } as const;
  const data = missing.map((backup) => rowOf(backup, true));
  const made = await tx.backupJob.createManyAndReturn({ data, skipDuplicates: true, select });
  const done = new Set(made.map(({ snapshotId }) => snapshotId));
  // Ids that are in use, here or at another entity, are not given again.
  const rest = missing.filter(({ snapshotId }) => !done.has(snapshotId)).map((backup) => rowOf(backup, false));
  if (rest.length > 0) await tx.backupJob.createMany({ data: rest });
  return missing.length;
}

/** Backups whose snapshots were believed gone and are there. May be repeated. */
export async function reviveBackups(
  tx: Transaction,
  backups: readonly { readonly id: string; readonly snapshotId: string }[],
): Promise<void> {
  for (const { id, snapshotId } of backups) {
    await tx.backupJob.updateMany({ where: { id, snapshotId: null }, data: { snapshotId, expiredAt: null } });
  }
}

/** The config that governs each snapshot that an adoption found, and how long that config keeps it; null for ever. */
export async function adoptedSnapshots(
  rows: Transaction,
  repositoryId: string,
): Promise<{ jobId: string; snapshotId: string; backupConfigId: string }[]> {
  const where = { repositoryId, snapshotId: { not: null }, adoptionJobId: { not: null } };
  const jobs = await rows.backupJob.findMany({ where, select: { id: true, snapshotId: true, backupConfigId: true } });
  return jobs.flatMap(({ id, snapshotId, backupConfigId }) => (snapshotId === null ? [] : [{ jobId: id, snapshotId, backupConfigId }]));
}

/** The snapshots of a repository that are copies of others. */
export async function knownCopies(rows: Transaction, repositoryId: string): Promise<string[]> {
  const copies = await rows.snapshotCopy.findMany({ where: { repositoryId }, select: { snapshotId: true } });
  return copies.map(({ snapshotId }) => snapshotId);
}

/** Whether a copy job is bringing snapshots there, whose rows come after them. */
export async function isBeingCopiedTo(rows: Transaction, repositoryId: string): Promise<boolean> {
  const where = { targetRepositoryId: repositoryId, status: 'running' as const };
  return (await rows.copyJob.findFirst({ where, select: { id: true } })) !== null;
}

/** Whether others have written to the repository, as far as rows know. */
export async function isAdopted(rows: Transaction, repositoryId: string): Promise<boolean> {
  return (await rows.adoptionJob.findFirst({ where: { repositoryId }, select: { id: true } })) !== null;
}

/** The snapshot of the newest backup of a config that an adoption found; null when it found none. */
export async function newestAdopted(rows: Transaction, backupConfigId: string): Promise<string | null> {
  const where = { backupConfigId, snapshotId: { not: null }, adoptionJobId: { not: null } };
  const job = await rows.backupJob.findFirst({ where, select: { snapshotId: true }, orderBy: [{ createdAt: 'desc' }, { id: 'desc' }] });
  return job?.snapshotId ?? null;
}

/** Against other adoptions; runs and configs go on. */
async function lockRepository(tx: Transaction, id: string): Promise<void> {
  await tx.$executeRaw`SELECT 1 FROM "repositories" WHERE "id" = ${id} FOR NO KEY UPDATE`;
}
