import {
  findOrCreateAdoptedConfig,
  insertAdoptedBackups,
  isBeingCopiedTo,
  knownBackups,
  knownCopies,
  reviveBackups,
  type AdoptedConfigInput,
  type KnownBackup,
} from '@holdfast/database/adopted-backups';
import { findAdoptionWork, type AdoptionWork } from '@holdfast/database/adoption-jobs';
import { markBackupsExpired } from '@holdfast/database/backup-jobs';
import { isFinal } from '@holdfast/database/run-states';
import { commitUnderFence, type RunOutcome } from '@holdfast/database/runs';
import type { Repository } from '@holdfast/engine/repository';
import { listSnapshots, type Snapshot } from '@holdfast/engine/snapshots';
import { backupOf, configOf, kindOf, makersOf } from '../describe-snapshot.ts';
import { openRepositoryOf } from '../open-repository.ts';
import { onTheirBases, readPhysical } from '../postgresql/adopted-chains.ts';
import type { RunInHand } from '../run-with-claim.ts';

/** Rows in one transaction: short enough that a cancel is heard soon. */
const batchSize = 200;
/** Longest list of warnings in a row's details. */
const maxListed = 100;

/** A snapshot that becomes a row, and the config that it belongs to. */
export interface AdoptedSnapshot {
  readonly snapshot: Snapshot;
  readonly config: AdoptedConfigInput;
  /** More for the row's metadata. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/**
 * Takes the snapshots of a repository that are in no row as backups, and marks those that are gone as expired. The repository is opened and
 * never made, and read without a lock: a snapshot's file is there whole or not at all, and whoever holds the lock is not disturbed. Running
 * it again does what is left.
 */
export async function processAdopt(run: RunInHand<'adopt'>): Promise<RunOutcome<'adopt'>> {
  const { context, claim, signal } = run;
  const work = await findAdoptionWork(context.database.client, claim.id);
  await using repository = await openRepositoryOf(run, work.repository, { create: false, warm: false });

  // Read first: a backup that ends while snapshots are listed is not missed among them.
  const rows = await knownBackups(context.database.client, work.repositoryId);
  const copies = await knownCopies(context.database.client, work.repositoryId);
  const warnings: string[] = [];
  const unreadable = new Set<string>();
  const snapshots = await listSnapshots(repository, {
    signal,
    onUnreadable(id, error) {
      unreadable.add(id);
      warnings.push(`snapshot ${id} cannot be read: ${error.message}`);
    },
  });
  // In this order: a copy job that has ended by the first look has its rows at the second.
  const isCopiedTo = await isBeingCopiedTo(context.database.client, work.repositoryId);
  const copiesSince = await knownCopies(context.database.client, work.repositoryId);
  const plan = planAdoption({ rows, copies, copiesSince: new Set(copiesSince), isCopiedTo }, snapshots, unreadable);

  await commitUnderFence(context.database, claim, async (tx) => {
    await markBackupsExpired(tx, work.repositoryId, plan.gone, context.clock.now());
    await reviveBackups(tx, plan.back);
  });
  const files = plan.missing.filter((snapshot) => !isPhysical(snapshot)).map((snapshot) => ({ snapshot, config: configOf(snapshot) }));
  const adoptedFiles = await adopt(run, work, repository, files);
  // These have to be read, which takes a lock: after all others, so that it keeps none of them waiting.
  const { bases, increments } = await readPhysical(run, repository, plan.missing.filter(isPhysical), warnings);
  const adoptedBases = await adopt(run, work, repository, bases);
  const based = await onTheirBases(context.database.client, work.repositoryId, increments, warnings);
  const adoptedIncrements = await adopt(run, work, repository, based);

  const details = {
    snapshotCount: snapshots.length + unreadable.size,
    adoptedCount: adoptedFiles + adoptedBases + adoptedIncrements,
    goneCount: plan.gone.length,
    backCount: plan.back.length,
    unreadableCount: unreadable.size,
    warningCount: warnings.length,
    warnings: warnings.slice(0, maxListed),
  };
  return { status: warnings.length > 0 ? 'completed_with_warnings' : 'completed', result: { details } };
}

interface AdoptionPlan {
  /** In no row. */
  readonly missing: readonly Snapshot[];
  /** In a row and not in the repository: the ids. */
  readonly gone: readonly string[];
  /** In a row that says that they are gone. */
  readonly back: readonly { readonly id: string; readonly snapshotId: string }[];
}

/** What rows know of the repository. */
interface Known {
  readonly rows: readonly KnownBackup[];
  /** The copies before the snapshots were listed, and after. */
  readonly copies: readonly string[];
  readonly copiesSince: ReadonlySet<string>;
  /** Copies are coming in, whose rows follow. */
  readonly isCopiedTo: boolean;
}

function planAdoption(
  { rows, copies, copiesSince, isCopiedTo }: Known,
  snapshots: readonly Snapshot[],
  unreadable: ReadonlySet<string>,
): AdoptionPlan {
  const present = new Set([...snapshots.map(({ id }) => id), ...unreadable]);
  const named = new Set([...copies, ...rows.flatMap(({ snapshotId }) => snapshotId ?? [])]);
  const jobOf = new Map(rows.map((row) => [row.id, row]));
  // A row keeps the path of a snapshot that it has lost.
  const lost = new Map(
    rows.flatMap((row) => (row.snapshotId === null && row.filePath !== null ? [[snapshotOfPath(row.filePath), row] as const] : [])),
  );
  const missing: Snapshot[] = [];
  const back: { id: string; snapshotId: string }[] = [];
  for (const snapshot of snapshots.filter(({ id }) => !named.has(id))) {
    const row = lost.get(snapshot.id);
    if (row !== undefined) back.push({ id: row.id, snapshotId: snapshot.id });
    else if (
      !copiesSince.has(snapshot.id) &&
      !(isCopiedTo && snapshot.original !== undefined) &&
      !isLeftToItsRun(jobOf.get(makersOf(snapshot)?.jobId ?? ''))
    ) {
      missing.push(snapshot);
    }
  }
  return { missing, back, gone: [...named].filter((id) => !present.has(id)) };
}

/** A run that goes on says itself what it made; what one left that failed or was cancelled is for cleanup to remove. */
function isLeftToItsRun(job: KnownBackup | undefined): boolean {
  return job !== undefined && (!isFinal(job.status) || job.status === 'failed' || job.status === 'cancelled');
}

function snapshotOfPath(filePath: string): string {
  return filePath.slice(filePath.lastIndexOf('/') + 1);
}

function isPhysical(snapshot: Snapshot): boolean {
  const kind = kindOf(snapshot);
  return kind === 'cluster' || kind === 'wal';
}

/** Gives how many rows were made. */
async function adopt(
  { context, claim, signal, onProgress }: RunInHand<'adopt'>,
  work: AdoptionWork,
  repository: Repository,
  adopted: readonly AdoptedSnapshot[],
): Promise<number> {
  const configs = new Map<string, { readonly id: string; readonly backupType: KnownBackup['backupType'] }>();
  for (const { config } of adopted) {
    if (configs.has(config.adoptionKey)) continue;
    const found = await commitUnderFence(context.database, claim, (tx) => findOrCreateAdoptedConfig(tx, work.repository, config));
    configs.set(config.adoptionKey, { id: found.id, backupType: config.backupType });
  }
  const backups = adopted.flatMap(({ snapshot, config, metadata }) => {
    const of = configs.get(config.adoptionKey);
    if (of === undefined) return [];
    const backup = backupOf(snapshot, repository.storage.location);
    return [{ ...backup, backupConfigId: of.id, backupType: of.backupType, metadata: { ...backup.metadata, ...metadata } }];
  });
  let madeCount = 0;
  for (let at = 0; at < backups.length; at += batchSize) {
    signal.throwIfAborted();
    const batch = backups.slice(at, at + batchSize);
    madeCount += await commitUnderFence(context.database, claim, (tx) => insertAdoptedBackups(tx, work, batch));
    onProgress({ phase: 'saving', filesDone: at + batch.length, filesTotal: backups.length, bytesDone: 0, bytesTotal: null });
  }
  return madeCount;
}
