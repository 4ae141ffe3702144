import { newestAdopted } from '@holdfast/database/adopted-backups';
import { findBackupWork } from '@holdfast/database/backup-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import type { Repository } from '@holdfast/engine/repository';
import { findSnapshotByTag, listSnapshots, type Snapshot } from '@holdfast/engine/snapshots';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { parseBackupOptions } from '@holdfast/jobs/backup-options';
import { encodeFacts } from '@holdfast/policy/recovery-facts';
import { parseSourceOptions } from '@holdfast/sources/source-options';
import { backupStoring, tagsOf } from '../backup-storing.ts';
import { backupWayOf } from '../backup-ways/backup-ways.ts';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import { badPageWarnings } from '../postgresql/base-backup.ts';
import { factsPath, loadStoredFacts } from '../postgresql/stored-facts.ts';
import type { RunInHand } from '../run-with-claim.ts';

/**
 * Backs up the config's source. A former attempt may have written its snapshot and died before the row knew: that snapshot,
 * found by its tag, is this run's result then.
 */
export async function processBackup(run: RunInHand<'backup'>): Promise<RunOutcome<'backup'>> {
  const { context, claim, signal } = run;
  const work = await findBackupWork(context.database.client, claim.id);
  if (work.backupConfig.deletedAt !== null) throw new HoldfastError('config_inactive', `backup config ${work.backupConfigId} is deleted`);
  const backupOptions = parseBackupOptions(work.backupConfig.options);

  await using repository = await openRepositoryOf(run, work.repository, { create: true, warm: true, limits: backupOptions });
  // A damaged snapshot must not keep new ones from being made: that is when they are needed most.
  const onUnreadable = (id: string, error: Error): void => context.logger.warn({ err: error, id }, 'a snapshot cannot be read; left aside');
  const snapshots = await listSnapshots(repository, { signal, onUnreadable });
  const adoptedId = await newestAdopted(context.database.client, work.backupConfigId);
  const storing = backupStoring(run, work, { repository, snapshots, adoptedId });
  const source = parseSourceOptions(work.backupConfig.source);
  const way = backupWayOf(source);
  const adopted = findSnapshotByTag(snapshots, tagsOf(work).job);
  const outcome = adopted === undefined ? await way.backUp(run, work, source, storing) : await adopt(run, repository, adopted);
  return way.complete === undefined ? outcome : await way.complete(run, work, outcome, storing);
}

async function adopt(run: RunInHand<'backup'>, repository: Repository, snapshot: Snapshot): Promise<RunOutcome<'backup'>> {
  const { location } = repository.storage;
  const { status, metadata } = await factsOfAdopted(run, repository, snapshot);
  return {
    status,
    result: {
      snapshotId: snapshot.id,
      filePath: `${location}/snapshots/${snapshot.id}`,
      fileSize: BigInt(snapshot.summary?.totalBytesProcessed ?? 0),
      checksum: snapshot.tree,
      metadata: {
        hostname: snapshot.hostname ?? null,
        parentId: snapshot.parent ?? null,
        adopted: true,
        summary: countsOf(snapshot),
        ...metadata,
      },
    },
  };
}

/** What the row of a physical or incremental backup says beside: recovery cannot do without it. */
async function factsOfAdopted(run: RunInHand<'backup'>, repository: Repository, snapshot: Snapshot) {
  if (!snapshot.paths.includes(factsPath)) return { status: 'completed', metadata: {} } as const;
  const facts = await loadStoredFacts({ ...lockOptionsOf(run), repository, snapshotId: snapshot.id });
  const warnings = facts.kind === 'base' ? badPageWarnings(facts) : [];
  const status = warnings.length > 0 ? ('completed_with_warnings' as const) : ('completed' as const);
  return { status, metadata: { postgresql: encodeFacts(facts), warnings } };
}

/** The summary without its times, which JSON cannot hold. */
function countsOf({ summary }: Snapshot): Record<string, number> {
  return Object.fromEntries(Object.entries(summary ?? {}).flatMap(([name, value]) => (typeof value === 'number' ? [[name, value]] : [])));
}
