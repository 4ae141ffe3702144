import { appendEvent } from '@holdfast/database/events';
import type { JsonObject } from '@holdfast/database/json-object';
import type { BackupWork } from '@holdfast/database/backup-jobs';
import { commitUnderFence } from '@holdfast/database/runs';
import type { Repository } from '@holdfast/engine/repository';
import { withSnapshotFiles, type SnapshotFiles } from '@holdfast/engine/snapshot-files';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { isInsideRoots } from '@holdfast/sources/allowed-roots';
import type { PlannedLog } from '@holdfast/sources/logs/plan-logs';
import { differenceOf, filesOpenForWriting, removeLog } from '@holdfast/sources/logs/remove-log';
import { printablePath } from '@holdfast/sources/system-path';
import { lockOptionsOf } from '../lock-options.ts';
import type { RunInHand } from '../run-with-claim.ts';

export interface RemovalOptions {
  readonly repository: Repository;
  /** Committed, with the files in it. */
  readonly snapshotId: string;
  readonly logs: readonly PlannedLog[];
  readonly removeAfterDays: number;
  readonly startedAt: Date;
}

export interface Removal {
  /** For the row. */
  readonly facts: JsonObject;
  readonly warnings: readonly string[];
}

/** Files that are removed together, after one event that names them all. */
const batchCount = 100;
/** As many as a row lists of anything. */
const maxListed = 100;
const dayNs = 24n * 3600n * 1_000_000_000n;

/**
 * Removes the files that nobody has written to for so many days: each only after its bytes have been read back from the storage and held
 * against the disk's, and after an event that names it is committed, so that no removal goes untold whatever happens. What differs, was
 * written to, is open for writing or lies outside the roots for it stays, and is told; a run that is not the row's any more stops.
 * Codes: run_superseded, run_cancelled, and those of withSnapshotFiles.
 */
export async function removeOldLogs(run: RunInHand<'backup'>, work: BackupWork, options: RemovalOptions): Promise<Removal> {
  const { repository, snapshotId, logs, removeAfterDays, startedAt } = options;
  const before = BigInt(startedAt.getTime()) * 1_000_000n - BigInt(removeAfterDays) * dayNs;
  const old = logs.filter(({ file, entry }) => file.modifiedNs < before && entry.state !== 'incomplete');
  const removal = new LogRemoval(run, work);
  if (old.length > 0) {
    await withSnapshotFiles({ ...lockOptionsOf(run), repository, snapshotId }, (files, signal) => removal.remove(old, files, signal));
  }
  return removal.result();
}

class LogRemoval {
  readonly #run: RunInHand<'backup'>;
  readonly #work: BackupWork;
  readonly #removed: { path: string; sizeBytes: number }[] = [];
  readonly #kept: { path: string; reason: string }[] = [];
  #removedBytes = 0;

  constructor(run: RunInHand<'backup'>, work: BackupWork) {
    this.#run = run;
    this.#work = work;
  }

  async remove(old: readonly PlannedLog[], files: SnapshotFiles, signal: AbortSignal): Promise<void> {
    const open = await filesOpenForWriting(signal);
    const roots = this.#run.context.config.logRemovalRoots;
    for (let begin = 0; begin < old.length; begin += batchCount) {
      const verified: PlannedLog[] = [];
      for (const planned of old.slice(begin, begin + batchCount)) {
        const { file } = planned;
        let reason: string | null = null;
        if (!isInsideRoots(file.path, roots)) reason = 'is outside of HOLDFAST_LOG_REMOVAL_ROOTS';
        else if (open.has(`${file.device} ${file.inode}`)) reason = 'is open for writing';
        reason ??= await differenceFromStored(planned, files, signal);
        if (reason === null) verified.push(planned);
        else this.#keep(planned, reason);
      }
      if (verified.length > 0) await this.#removeVerified(verified, signal);
    }
  }

  result(): Removal {
    const [removed, kept] = [this.#removed, this.#kept];
    const facts = {
      removedCount: removed.length,
      removedBytes: this.#removedBytes,
      removed: removed.slice(0, maxListed),
      keptCount: kept.length,
      kept: kept.slice(0, maxListed),
    };
    const warnings = kept.map(({ path, reason }) => `${path} is old enough to be removed and stays: it ${reason}`);
    return { facts, warnings };
  }

  async #removeVerified(verified: readonly PlannedLog[], signal: AbortSignal): Promise<void> {
    const { context, claim, logger } = this.#run;
    const files = verified.map(({ file }) => ({ path: printablePath(file.path), sizeBytes: file.sizeBytes }));
    await commitUnderFence(context.database, claim, async (tx) => {
      await appendEvent(tx, {
        businessEntityId: this.#work.backupConfig.businessEntityId,
        type: 'backup.logs_removed',
        subjectKind: 'backup',
        subjectId: claim.id,
        data: { backupConfigId: this.#work.backupConfigId, files },
      });
    });
    for (const planned of verified) {
      signal.throwIfAborted();
      const { file } = planned;
      const reason = await removeLog(file, context.config.logRemovalRoots).catch(reasonOf);
      if (reason !== null) {
        this.#keep(planned, reason);
        continue;
      }
      logger.info({ path: printablePath(file.path), sizeBytes: file.sizeBytes }, 'removed a log that is backed up');
      this.#removed.push({ path: printablePath(file.path), sizeBytes: file.sizeBytes });
      this.#removedBytes += file.sizeBytes;
    }
  }

  #keep({ file }: PlannedLog, reason: string): void {
    this.#kept.push({ path: printablePath(file.path), reason });
  }
}

/** Null when the storage gives back just what the disk has. */
async function differenceFromStored({ file }: PlannedLog, files: SnapshotFiles, signal: AbortSignal): Promise<string | null> {
  try {
    return await differenceOf(file, files.read(file.path), signal);
  } catch (error) {
    signal.throwIfAborted();
    if (isHoldfastError(error, 'path_not_found')) return 'is not in the backup';
    if (isHoldfastError(error, 'repository_damaged')) return `cannot be read back: ${error.message}`;
    throw error;
  }
}

function reasonOf(error: unknown): string {
  if (isHoldfastError(error, 'target_not_writable')) return error.message;
  throw error;
}
