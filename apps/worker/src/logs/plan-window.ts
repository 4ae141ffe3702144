import type { SnapshotFiles } from '@holdfast/engine/snapshot-files';
import type { Snapshot } from '@holdfast/engine/snapshots';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { LogEncoding, LogEntry } from '@holdfast/sources/logs/log-manifest';
import { posix } from 'node:path';
import { loadManifest } from './stored-manifest.ts';

/** Bytes of a log that one run was the first to store, of a compressed file in its plain text. */
export interface LogPiece {
  readonly snapshotId: string;
  readonly path: string;
  readonly encoding: LogEncoding | undefined;
  readonly fromByte: number;
  readonly toByte: number;
}

/** What the runs of a window picked up of one log, in its order. */
export interface WindowedLog {
  readonly log: string;
  /** Where it was seen first. */
  readonly origin: string;
  readonly pieces: LogPiece[];
  sizeBytes: number;
}

export interface LogWindow {
  readonly sinceMs: number;
  readonly untilMs: number;
}

export interface PlannedWindow {
  readonly logs: readonly WindowedLog[];
  /** Of the runs that count, oldest first. */
  readonly runs: readonly Snapshot[];
  /** Snapshots that hold nothing of logs, or whose manifest cannot be read. */
  readonly warnings: readonly string[];
}

/**
 * Finds what was written in a window: the bytes that each run picked up which began in it, and the first that began after it, since that one
 * has what was written after the last in it. Each byte of a log counts for the oldest snapshot that has it: what the manifests say is held against the
 * files that are there, so that what one run could not store counts for the next. `snapshots` are all of the config, oldest first.
 * Errors: those of the storage.
 */
export async function planWindow(
  snapshots: readonly Snapshot[],
  window: LogWindow,
  withFiles: (snapshotId: string, use: (files: SnapshotFiles) => Promise<void>) => Promise<void>,
): Promise<PlannedWindow> {
  const planner = new WindowPlanner();
  const runs: Snapshot[] = [];
  let [beforeMs, treeBefore] = [Number.NEGATIVE_INFINITY, ''];
  for (const snapshot of snapshots) {
    const beganMs = Number(snapshot.timeNs / 1_000_000n);
    if (beforeMs >= window.untilMs) break;
    const counts = beganMs >= window.sinceMs;
    if (counts) runs.push(snapshot);
    // Nothing was new.
    if (snapshot.tree !== treeBefore) await withFiles(snapshot.id, (files) => planner.add(snapshot.id, files, counts));
    [beforeMs, treeBefore] = [beganMs, snapshot.tree];
  }
  return { logs: [...planner.logs.values()], runs, warnings: planner.warnings };
}

class WindowPlanner {
  readonly logs = new Map<string, WindowedLog>();
  readonly warnings: string[] = [];
  /** How much of each log the snapshots so far have. */
  readonly #storedBytes = new Map<string, number>();

  async add(snapshotId: string, files: SnapshotFiles, counts: boolean): Promise<void> {
    const entries = await this.#manifestOf(snapshotId, files);
    const sizes = new FileSizes(files);
    for (const entry of entries) {
      const fromByte = this.#storedBytes.get(entry.log) ?? 0;
      if (entry.state !== 'present' || entry.toByte <= fromByte) continue;
      const toByte = storedOf(entry, await sizes.of(entry.path));
      if (toByte <= fromByte) continue;
      this.#storedBytes.set(entry.log, toByte);
      if (counts) this.#take(entry, { snapshotId, path: entry.path, encoding: entry.encoding, fromByte, toByte });
    }
  }

  #take({ log, origin }: LogEntry, piece: LogPiece): void {
    const windowed = this.logs.get(log) ?? { log, origin, pieces: [], sizeBytes: 0 };
    this.logs.set(log, windowed);
    windowed.pieces.push(piece);
    windowed.sizeBytes += piece.toByte - piece.fromByte;
  }

  async #manifestOf(snapshotId: string, files: SnapshotFiles): Promise<readonly LogEntry[]> {
    try {
      const entries = await loadManifest(files);
      if (entries === null) this.warnings.push(`snapshot ${snapshotId} has no manifest of logs`);
      return entries ?? [];
    } catch (error) {
      if (!isHoldfastError(error, 'repository_damaged')) throw error;
      this.warnings.push(`the manifest of snapshot ${snapshotId} cannot be read: ${error.message}`);
      return [];
    }
  }
}

/** How much of a log a file has that is there with so many bytes: of a compressed one all or nothing. */
function storedOf({ encoding, sizeBytes, toByte }: LogEntry, storedBytes: number): number {
  if (encoding === undefined) return Math.min(toByte, storedBytes);
  return storedBytes === sizeBytes ? toByte : 0;
}

class FileSizes {
  readonly #files: SnapshotFiles;
  readonly #folders = new Map<string, ReadonlyMap<string, number>>();

  constructor(files: SnapshotFiles) {
    this.#files = files;
  }

  /** 0 where there is none. */
  async of(path: string): Promise<number> {
    const folder = posix.dirname(path);
    const sizes = this.#folders.get(folder) ?? (await this.#sizesIn(folder));
    this.#folders.set(folder, sizes);
    return sizes.get(posix.basename(path)) ?? 0;
  }

  async #sizesIn(folder: string): Promise<ReadonlyMap<string, number>> {
    try {
      return new Map((await this.#files.list(folder)).map(({ name, sizeBytes }) => [name, sizeBytes]));
    } catch (error) {
      if (isHoldfastError(error, 'path_not_found')) return new Map();
      throw error;
    }
  }
}
