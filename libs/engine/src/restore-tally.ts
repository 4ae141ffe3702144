import type { SnapshotSummary } from '@holdfast/restic-format/snapshot-file';
import type { TargetWarning } from '@holdfast/sources/target';
import { printablePath } from '@holdfast/sources/system-path';
import type { FailedEntry } from './entry-failure.ts';
import type { OnProgress } from './progress.ts';
import type { RestoreResult } from './restorer.ts';

/** The lists are for people; the counts tell the rest. */
export const maxWarningsListed = 1000;

/** Counts what a recovery does, and tells how far it has come. */
export class RestoreTally {
  readonly #done = { file: 0, directory: 0, other: 0, hard_link: 0 };
  readonly #failed: FailedEntry[] = [];
  readonly #notPossible: FailedEntry[] = [];
  readonly #warnings: TargetWarning[] = [];
  #failedCount = 0;
  #notPossibleCount = 0;
  #replacedCount = 0;
  #keptBytes = 0;
  #removedBytes = 0;
  #warningCount = 0;
  #bytesDone = 0;
  #keptCount = 0;
  #removedCount = 0;
  readonly #totals: SnapshotSummary | undefined;
  readonly #onProgress: OnProgress | undefined;

  /** `totals`: of all that is restored, where they are known. */
  constructor(totals: SnapshotSummary | undefined, onProgress: OnProgress | undefined) {
    this.#totals = totals;
    this.#onProgress = onProgress;
  }

  readonly onDone = (kind: 'file' | 'directory' | 'other' | 'hard_link'): void => {
    this.#done[kind]++;
    this.#report();
  };

  readonly onFilesDone = (fileCount: number): void => {
    this.#done.file += fileCount;
    this.#report();
  };

  readonly onBytes = (bytes: number): void => {
    this.#bytesDone += bytes;
    this.#report();
  };

  readonly onReplaced = (count: number): void => {
    this.#replacedCount += count;
  };

  readonly onKept = (sizeBytes: number): void => {
    this.#keptCount++;
    this.#keptBytes += sizeBytes;
  };

  readonly onRemoved = (sizeBytes: number): void => {
    this.#removedCount++;
    this.#removedBytes += sizeBytes;
  };

  /** An entry that was to be restored, or removed, and is not. */
  readonly onFailed = (entry: FailedEntry): void => {
    this.#failedCount++;
    if (this.#failed.length < maxWarningsListed) this.#failed.push(printable(entry));
    this.#list(entry);
  };

  /** What nobody could do anything about: it is told as a warning too. */
  readonly onNotPossible = (entry: FailedEntry): void => {
    const { path, reason } = printable(entry);
    this.onWarnings([{ path, reason }]);
    this.#list(entry);
  };

  readonly onWarnings = (warnings: readonly TargetWarning[]): void => {
    this.#warningCount += warnings.length;
    this.#warnings.push(...warnings.slice(0, maxWarningsListed - this.#warnings.length));
  };

  toResult(): RestoreResult {
    return {
      filesRestored: this.#done.file,
      directoriesRestored: this.#done.directory,
      otherRestored: this.#done.other,
      hardLinksRestored: this.#done.hard_link,
      bytesRestored: this.#bytesDone,
      replacedCount: this.#replacedCount,
      keptCount: this.#keptCount,
      keptBytes: this.#keptBytes,
      removedCount: this.#removedCount,
      removedBytes: this.#removedBytes,
      warnings: this.#warnings,
      warningCount: this.#warningCount,
      failed: this.#failed,
      failedCount: this.#failedCount,
      notPossible: this.#notPossible,
      notPossibleCount: this.#notPossibleCount,
    };
  }

  #list(entry: FailedEntry): void {
    this.#notPossibleCount++;
    if (this.#notPossible.length < maxWarningsListed) this.#notPossible.push(printable(entry));
  }

  #report(): void {
    this.#onProgress?.({
      phase: 'restoring',
      filesDone: this.#done.file + this.#done.hard_link,
      filesTotal: this.#totals?.totalFilesProcessed ?? null,
      bytesDone: this.#bytesDone,
      bytesTotal: this.#totals?.totalBytesProcessed ?? null,
    });
  }
}

function printable({ path, code, reason }: FailedEntry): FailedEntry {
  return { path: printablePath(path), code, reason };
}
