import type { SkippedEntry } from '@holdfast/sources/source';
import type { EnginePhase, OnProgress } from './progress.ts';
import type { Snapshot } from './snapshots.ts';
import type { Totals } from './stat-cache/known-folder.ts';

/** The counts that restic ≥ 0.17 notes in its snapshots; sizes in bytes. `Packed` is as stored: compressed and sealed. */
export interface ArchiveSummary {
  readonly filesNew: number;
  readonly filesChanged: number;
  readonly filesUnmodified: number;
  readonly dirsNew: number;
  readonly dirsChanged: number;
  readonly dirsUnmodified: number;
  readonly dataBlobs: number;
  readonly treeBlobs: number;
  readonly dataAdded: number;
  readonly dataAddedPacked: number;
  readonly totalFilesProcessed: number;
  readonly totalBytesProcessed: number;
}

/** The list of what was skipped is for people; the count tells the rest. */
export const maxSkippedListed = 1000;
const maxWarningsListed = 100;

type Counts = { -readonly [Name in keyof ArchiveSummary]: number };

/** What one run has seen and done so far. */
export class ArchiveTally {
  readonly counts: Counts = {
    filesNew: 0,
    filesChanged: 0,
    filesUnmodified: 0,
    dirsNew: 0,
    dirsChanged: 0,
    dirsUnmodified: 0,
    dataBlobs: 0,
    treeBlobs: 0,
    dataAdded: 0,
    dataAddedPacked: 0,
    totalFilesProcessed: 0,
    totalBytesProcessed: 0,
  };
  readonly skipped: SkippedEntry[] = [];
  skippedCount = 0;
  readonly warnings: string[] = [];
  #bytesDone = 0;
  #totals: { files: number; bytes: number } | null;
  readonly #onProgress: OnProgress;

  constructor({ parent, onProgress = () => {} }: { parent?: Snapshot; onProgress?: OnProgress }) {
    // The parent's size is a good guess of this one's, and costs nothing; without one the source is counted ahead.
    const before = parent?.summary;
    this.#totals = before === undefined ? null : { files: before.totalFilesProcessed, bytes: before.totalBytesProcessed };
    this.#onProgress = onProgress;
  }

  get needsScan(): boolean {
    return this.#totals === null;
  }

  set totals(totals: { files: number; bytes: number }) {
    this.#totals = totals;
    this.report('reading');
  }

  addFile(kind: 'new' | 'changed' | 'unmodified', sizeBytes: number): void {
    this.judgeFile(kind);
    this.addStoredFile(sizeBytes);
  }

  /** Of a file that is counted already. */
  judgeFile(kind: 'new' | 'changed' | 'unmodified'): void {
    this.counts[kind === 'new' ? 'filesNew' : kind === 'changed' ? 'filesChanged' : 'filesUnmodified']++;
  }

  /** One of which nobody can say yet whether the parent has it. */
  addStoredFile(sizeBytes: number): void {
    this.counts.totalFilesProcessed++;
    this.counts.totalBytesProcessed += sizeBytes;
    this.report('reading');
  }

  addDirectory(kind: 'new' | 'changed' | 'unmodified'): void {
    this.counts[kind === 'new' ? 'dirsNew' : kind === 'changed' ? 'dirsChanged' : 'dirsUnmodified']++;
  }

  /** Files and folders that are unmodified. */
  addSame({ files, bytes, folders }: Totals): void {
    this.counts.filesUnmodified += files;
    this.counts.totalFilesProcessed += files;
    this.counts.totalBytesProcessed += bytes;
    this.counts.dirsUnmodified += folders;
    this.addBytes(bytes);
  }

  addBytes(bytes: number): void {
    this.#bytesDone += bytes;
    this.report('reading');
  }

  addSkipped(skipped: SkippedEntry): void {
    this.skippedCount++;
    if (this.skipped.length < maxSkippedListed) this.skipped.push(skipped);
  }

  addWarning(message: string): void {
    if (this.warnings.length < maxWarningsListed) this.warnings.push(message);
  }

  report(phase: EnginePhase): void {
    const filesDone = this.counts.totalFilesProcessed;
    const bytesDone = this.#bytesDone;
    // Once everything is read there is no more to come, whatever was guessed.
    const totals = phase === 'saving' ? { files: filesDone, bytes: bytesDone } : this.#totals;
    // A guess that turns out too small grows: never more done than there is.
    const filesTotal = totals === null ? null : Math.max(filesDone, totals.files);
    const bytesTotal = totals === null ? null : Math.max(bytesDone, totals.bytes);
    this.#onProgress({ phase, filesDone, filesTotal, bytesDone, bytesTotal });
  }
}
