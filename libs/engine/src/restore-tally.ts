import type { SnapshotSummary } from '@holdfast/restic-format/snapshot-file';
import type { TargetWarning } from '@holdfast/sources/target';
import type { OnProgress } from './progress.ts';
import type { RestoreResult } from './restorer.ts';

/** The lists are for people; the counts tell the rest. */
export const maxWarningsListed = 1000;

/** Counts what a recovery does, and tells how far it has come. */
export class RestoreTally {
  readonly #done = { file: 0, directory: 0, other: 0, hard_link: 0 };
  readonly #failed: TargetWarning[] = [];
  readonly #warnings: TargetWarning[] = [];
  #failedCount = 0;
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

  readonly onKept = (): void => {
    this.#keptCount++;
  };

  readonly onRemoved = (count: number): void => {
    this.#removedCount += count;
  };

  readonly onFailed = (path: string, reason: string): void => {
    this.#failedCount++;
    if (this.#failed.length < maxWarningsListed) this.#failed.push({ path, reason });
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
      keptCount: this.#keptCount,
      removedCount: this.#removedCount,
      warnings: this.#warnings,
      warningCount: this.#warningCount,
      failed: this.#failed,
      failedCount: this.#failedCount,
    };
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
