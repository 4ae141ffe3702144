import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Target, TargetWarning, ThreadTargetOptions } from '@holdfast/sources/target';
import { openThreadTarget } from '@holdfast/sources/thread-target';
import { createBlobLoader, type BlobLoader } from './blob-loader.ts';
import { loadIndex } from './load-index.ts';
import { withLock, type Lock, type LockOptions } from './lock.ts';
import { selectPaths, type PathSelection } from './path-selection.ts';
import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';
import { RestoreInto, type RestoreIntoOptions } from './restore-into.ts';
import { openInlineRestorer, openThreadedRestorer } from './restore-packs.ts';
import { RestoreWalk } from './restore-walk.ts';
import { loadSnapshot, type Snapshot } from './snapshots.ts';
import type { ThreadOptions } from './threads/borrowed-pool.ts';

export interface RestoreOptions extends LockOptions, ThreadOptions {
  readonly repository: Repository;
  readonly snapshotId: ObjectId;
  /** Opened and closed by the call. */
  readonly target: Target;
  /** Absolute paths in the snapshot: each with all that is below it, and the folders above. Default: everything. */
  readonly select?: { readonly paths: readonly string[] };
  /** A lock that the caller holds already; by default a shared one is taken for the call. */
  readonly lock?: Lock;
  readonly onProgress?: OnProgress;
}

export interface RestoreResult {
  readonly filesRestored: number;
  readonly directoriesRestored: number;
  /** Symlinks, fifos, devices and sockets. */
  readonly otherRestored: number;
  readonly hardLinksRestored: number;
  readonly bytesRestored: number;
  /** What could not be set, such as an owner when not root. At most maxWarningsListed; warningCount counts all. */
  readonly warnings: readonly TargetWarning[];
  readonly warningCount: number;
  /** Files and folders that are damaged or missing in the repository: not there, or not whole. At most maxWarningsListed. */
  readonly failed: readonly TargetWarning[];
  readonly failedCount: number;
}

/**
 * Writes a snapshot, or the selected part of it, to the target; every blob is checked against its hash before it is written.
 * When it throws or is aborted, what was written so far is left in the target.
 * Errors: snapshot_missing, path_not_found (nothing selected is there), repository_damaged (the top cannot be read),
 * repository_locked, those of the target and the storage.
 */
export async function restore(options: RestoreOptions): Promise<RestoreResult> {
  return await withLock({ ...options, exclusive: false }, (signal) => restoreLocked(options, signal));
}

/** The lists are for people; the counts tell the rest. */
export const maxWarningsListed = 1000;
/** Less is restored in the calling thread. Two threads start in about the time that this takes. */
const minThreadedBytes = 16 * 1024 * 1024;
const minThreadedFiles = 2000;

async function restoreLocked(options: RestoreOptions, signal: AbortSignal): Promise<RestoreResult> {
  const { repository, target, snapshotId, onProgress = () => {} } = options;
  const snapshot = await loadSnapshot(repository, snapshotId, { signal });
  const { index } = await loadIndex(repository, { signal });
  const loader = createBlobLoader(repository, index);
  const selection = selectPaths(options.select);
  const notFound = await findMissingPaths(loader, snapshot.tree, selection, signal);

  const done = { file: 0, directory: 0, other: 0, hard_link: 0 };
  const failed: TargetWarning[] = [];
  let failedCount = 0;
  let bytesDone = 0;
  const totals = selection.paths === null ? snapshot.summary : undefined;
  const report = (): void =>
    onProgress({
      phase: 'restoring',
      filesDone: done.file + done.hard_link,
      filesTotal: totals?.totalFilesProcessed ?? null,
      bytesDone,
      bytesTotal: totals?.totalBytesProcessed ?? null,
    });
  const written: TargetWarning[] = [];
  const listeners = {
    index,
    loader,
    selection,
    signal,
    onDone: (kind: keyof typeof done) => {
      done[kind]++;
      report();
    },
    onFilesDone: (fileCount: number) => {
      done.file += fileCount;
    },
    onBytes: (bytes: number) => {
      bytesDone += bytes;
      report();
    },
    onFailed: (path: string, reason: string) => {
      failedCount++;
      if (failed.length < maxWarningsListed) failed.push({ path, reason });
    },
    onWarnings: (warnings: readonly TargetWarning[]) => written.push(...warnings),
  };
  await target.open();
  try {
    const { threadOptions } = target;
    if (threadOptions === undefined) await new RestoreWalk({ ...listeners, repository, target }).run(snapshot.tree);
    else await restoreInto(options, threadOptions, snapshot, listeners);
    const warnings = [...notFound.map((path) => ({ path, reason: 'is not in the snapshot' })), ...target.warnings, ...written];
    return {
      filesRestored: done.file,
      directoriesRestored: done.directory,
      otherRestored: done.other,
      hardLinksRestored: done.hard_link,
      bytesRestored: bytesDone,
      warnings: warnings.slice(0, maxWarningsListed),
      warningCount: warnings.length,
      failed,
      failedCount,
    };
  } finally {
    await target.close();
  }
}

async function restoreInto(
  options: RestoreOptions,
  target: ThreadTargetOptions,
  { tree, summary }: Snapshot,
  listeners: Omit<RestoreIntoOptions, 'writer' | 'restorer'>,
): Promise<void> {
  const isSmall =
    options.pool === undefined &&
    summary !== undefined &&
    summary.totalBytesProcessed < minThreadedBytes &&
    summary.totalFilesProcessed < minThreadedFiles;
  const writer = openThreadTarget(target);
  const restorerOptions = { ...options, target, signal: listeners.signal };
  try {
    await using restorer = isSmall ? openInlineRestorer(restorerOptions, writer) : openThreadedRestorer(restorerOptions);
    await new RestoreInto({ ...listeners, writer, restorer }).run(tree);
  } finally {
    writer.close();
  }
}

/** Selected paths that the snapshot does not have; throws path_not_found when that is all of them. */
async function findMissingPaths(loader: BlobLoader, treeId: ObjectId, selection: PathSelection, signal: AbortSignal): Promise<string[]> {
  const paths = selection.paths ?? [];
  const missing: string[] = [];
  for (const path of paths) if (!(await hasPath(loader, treeId, path, signal))) missing.push(path);
  if (paths.length > 0 && missing.length === paths.length) {
    throw new HoldfastError('path_not_found', `the snapshot has no ${missing.join(', no ')}`, {
      hint: 'choose paths that are in the snapshot, as they were when it was made',
    });
  }
  return missing;
}

async function hasPath(loader: BlobLoader, treeId: ObjectId, path: string, signal: AbortSignal): Promise<boolean> {
  let subtree: ObjectId | undefined = treeId;
  for (const name of path.split('/').slice(1)) {
    if (subtree === undefined) return false;
    const node: TreeNode | undefined = (await loader.loadTree(subtree, signal)).find((candidate) => candidate.name === name);
    if (node === undefined) return false;
    subtree = node.subtree;
  }
  return true;
}
