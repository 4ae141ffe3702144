import type { BackupWork } from '@holdfast/database/backup-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import { archive, type ArchiveResult } from '@holdfast/engine/archiver';
import { loadIndex } from '@holdfast/engine/load-index';
import { acquireLock, type Lock } from '@holdfast/engine/lock';
import { withSnapshotFiles } from '@holdfast/engine/snapshot-files';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { LogEntry } from '@holdfast/sources/logs/log-manifest';
import { openLogsSource } from '@holdfast/sources/logs/logs-source';
import type { PlannedSource } from '@holdfast/sources/logs/planned-source';
import type { LogsSourceOptions } from '@holdfast/sources/source-options/logs';
import type { BackupStoring } from '../backup-storing.ts';
import type { BackupWay } from '../backup-ways/backup-way.ts';
import { lockOptionsOf } from '../lock-options.ts';
import { backupOutcome } from '../run-outcomes.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { factsOfLogs } from './log-facts.ts';
import { removeOldLogs } from './remove-logs.ts';
import { loadManifest } from './stored-manifest.ts';

/**
 * Stores log files whole; what is new of each is found by the manifest in the config's last snapshot.
 * Codes: path_outside_roots, those of openLogsSource and of archive.
 */
export const logsWay: BackupWay<LogsSourceOptions> = {
  backUp: backUpLogs,
};

async function backUpLogs(
  run: RunInHand<'backup'>,
  work: BackupWork,
  options: LogsSourceOptions,
  storing: BackupStoring,
): Promise<RunOutcome<'backup'>> {
  const { context, signal } = run;
  const { repository } = storing.options;
  const startedAt = context.clock.now();
  await using lock = await acquireLock(repository, { ...lockOptionsOf(run), exclusive: false });
  const before = await lastManifest(run, storing, lock);
  const source = await openLogsSource({ ...options, roots: context.config.sourceRoots, before, startedAt, signal });
  const result = await store(run, source, storing, lock);
  const { removeAfterDays } = options;
  const { snapshotId } = result;
  const removal =
    removeAfterDays === undefined
      ? null
      : await removeOldLogs(run, work, { repository, snapshotId, logs: source.shown, removeAfterDays, startedAt });
  const warnings = [...result.warnings, ...source.warnings, ...(removal?.warnings ?? [])];
  return backupOutcome(
    repository.storage.location,
    { ...result, warnings },
    {
      hostname: context.hostname,
      parentId: storing.last?.id ?? null,
      logs: { ...factsOfLogs(source, startedAt), removal: removal?.facts ?? null },
    },
  );
}

/** Null for none. One that cannot be read is left aside with a word: all files then count as new. */
async function lastManifest(run: RunInHand<'backup'>, { last, options }: BackupStoring, lock: Lock): Promise<LogEntry[] | null> {
  if (last === undefined) return null;
  const { repository } = options;
  try {
    const { index } = await loadIndex(repository, { signal: run.signal });
    const reading = { lock, index, [Symbol.asyncDispose]: async () => {} };
    return await withSnapshotFiles({ ...lockOptionsOf(run), repository, snapshotId: last.id, reading }, loadManifest);
  } catch (error) {
    if (!isHoldfastError(error, 'repository_damaged') && !isHoldfastError(error, 'snapshot_missing')) throw error;
    run.logger.warn({ err: error, id: last.id }, 'the manifest of the last logs cannot be read; all files count as new');
    return null;
  }
}

/** Less than this one thread stores before others have started. */
const littleBytes = 8 * 1024 * 1024;

async function store(run: RunInHand<'backup'>, source: PlannedSource, storing: BackupStoring, lock: Lock): Promise<ArchiveResult> {
  return await archive({
    ...storing.options,
    source,
    lock,
    ...(storing.last === undefined ? {} : { parent: storing.last }),
    ...(source.unreadBytes < littleBytes ? { concurrency: 0 } : {}),
    onProgress: run.onProgress,
  });
}
