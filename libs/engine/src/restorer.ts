import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Target, TargetWarning, ThreadTargetOptions } from '@holdfast/sources/target';
import { openThreadTarget } from '@holdfast/sources/thread-target';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader, type BlobLoader } from './blob-loader.ts';
import { DryWriter, openDryRestorer } from './dry-restore.ts';
import { withSharedLock, type LockOptions } from './lock.ts';
import type { OverwritePolicy } from './overwrite-policy.ts';
import { selectPaths, type PathSelection } from './path-selection.ts';
import type { OnProgress } from './progress.ts';
import { indexOf, lockOf, type RepositoryReading } from './repository-reading.ts';
import type { Repository } from './repository.ts';
import { RestoreInto } from './restore-into.ts';
import { openInlineRestorer, openThreadedRestorer, restoreModule, type PackRestorer } from './restore-packs.ts';
import { RestoreSteps } from './restore-steps.ts';
import { RestoreTally } from './restore-tally.ts';
import { RestoreWalk } from './restore-walk.ts';
import { loadSnapshot, type Snapshot } from './snapshots.ts';
import { borrowPool, type ThreadOptions } from './threads/borrowed-pool.ts';
import type { ThreadPool } from './threads/thread-pool.ts';

export interface RestoreOptions extends LockOptions, ThreadOptions {
  readonly repository: Repository;
  readonly snapshotId: ObjectId;
  /** Opened and closed by the call. */
  readonly target: Target;
  /** A folder of the snapshot, such as `/data`: what is in it comes to the top of the target. Default: the snapshot's own top. */
  readonly folder?: string;
  /** Absolute paths in the snapshot (with `folder`: in that): each with all that is below it, and the folders above. Default: everything. */
  readonly select?: { readonly paths: readonly string[] };
  /** What becomes of files that are there already. By default the target says; but for `never` it has to be one that overwrites. */
  readonly overwrite?: OverwritePolicy;
  /** Removes what the snapshot does not have from each folder that is restored as a whole. Default: it stays. */
  readonly deletesExtra?: boolean;
  /** Counts what would be done, and does nothing. */
  readonly isDryRun?: boolean;
  /** Leaves holes in files where there are blocks of zeros. Default: zeros are written. */
  readonly isSparse?: boolean;
  /** Of a caller who reads several snapshots; by default a shared lock is taken and the index read for the call. */
  readonly reading?: RepositoryReading;
  readonly onProgress?: OnProgress;
}

export interface RestoreResult {
  readonly filesRestored: number;
  readonly directoriesRestored: number;
  /** Symlinks, fifos, devices and sockets. */
  readonly otherRestored: number;
  readonly hardLinksRestored: number;
  readonly bytesRestored: number;
  /** Files, links and devices that were there and stay. */
  readonly keptCount: number;
  /** What was there and is not in the snapshot, entries of removed folders not counted. */
  readonly removedCount: number;
  /** What could not be set, such as an owner when not root. At most maxWarningsListed; warningCount counts all. */
  readonly warnings: readonly TargetWarning[];
  readonly warningCount: number;
  /** Files and folders that are damaged or missing in the repository: not there, or not whole. At most maxWarningsListed. */
  readonly failed: readonly TargetWarning[];
  readonly failedCount: number;
}

/**
 * Writes a snapshot, or the selected part of it, to the target; every blob is checked against its hash before it is written.
 * With a policy for what is there (see overwrite-policy.ts), a recovery that was interrupted goes on where it stopped.
 * When it throws or is aborted, what was written so far is left in the target.
 * Errors: type_not_supported (an option that the target cannot keep), snapshot_missing, path_not_found (nothing selected is there), repository_damaged (the top cannot be read),
 * repository_locked, those of the target and the storage.
 */
export async function restore(options: RestoreOptions): Promise<RestoreResult> {
  await using borrowed = borrowPool(options);
  const prepare = async (signal: AbortSignal): Promise<PreparedRestore> => {
    const { repository, snapshotId } = options;
    // Such a storage is mostly one with something in it: the threads are up when the snapshot is read.
    if (repository.storage.threadOptions !== undefined) warmRestore(borrowed.pool);
    const snapshot = await loadSnapshot(repository, snapshotId, { signal });
    const index = await indexOf(repository, options.reading, signal);
    const loader = createBlobLoader(repository, index);
    const treeId = await folderTree(loader, snapshot.tree, options.folder ?? '', signal);
    const selection = selectPaths(options.select);
    const { overwrite, deletesExtra = false } = options;
    const steps = new RestoreSteps({ index, loader, selection, overwrite, deletesExtra });
    // What can be tried is what threads write to: see restoreLocked. The walk only reads; nothing is made before there is a lock.
    if (options.target.preview !== undefined) steps.goAhead(treeId, signal);
    return { snapshot, treeId, index, loader, selection, steps, pool: borrowed.pool };
  };
  return await withSharedLock({ ...options, ...lockOf(options.reading) }, prepare, (prepared, signal) =>
    restoreLocked(options, prepared, signal),
  );
}

/** Starts the threads of a pool for a recovery that comes soon, while the repository is opened perhaps. */
export function warmRestore(pool: ThreadPool): void {
  pool.warm(restoreModule);
}

/** Less is restored in the calling thread. Two threads start in about the time that this takes. */
const minThreadedBytes = 16 * 1024 * 1024;
const minThreadedFiles = 2000;

interface PreparedRestore {
  readonly snapshot: Snapshot;
  /** Of what comes to the top of the target. */
  readonly treeId: ObjectId;
  readonly index: BlobIndex;
  readonly loader: BlobLoader;
  readonly selection: PathSelection;
  readonly steps: RestoreSteps;
  readonly pool: ThreadPool;
}

async function restoreLocked(options: RestoreOptions, prepared: PreparedRestore, signal: AbortSignal): Promise<RestoreResult> {
  const { repository, target, isDryRun = false, isSparse = false } = options;
  const { snapshot, treeId, index, loader, selection } = prepared;
  const notFound = await findMissingPaths(loader, treeId, selection, signal);
  const tally = new RestoreTally(selection.paths === null ? snapshot.summary : undefined, options.onProgress);
  tally.onWarnings(notFound.map((path) => ({ path, reason: 'is not in the snapshot' })));
  const { onDone, onBytes, onFailed } = tally;
  if (!isDryRun) await target.open();
  try {
    const threadOptions = isDryRun ? await target.preview?.() : target.threadOptions;
    if (threadOptions !== undefined) {
      await restoreInto(options, prepared, { ...threadOptions, isSparse }, tally, signal);
    } else {
      assertNoOptions(options);
      await new RestoreWalk({ index, loader, selection, signal, repository, target, onDone, onBytes, onFailed }).run(treeId);
    }
    tally.onWarnings(target.warnings);
    return tally.toResult();
  } finally {
    if (!isDryRun) await target.close();
  }
}

/** What only a target that a TargetWriter writes to can do. */
function assertNoOptions({ overwrite, deletesExtra, isDryRun, isSparse }: RestoreOptions): void {
  if (overwrite === undefined && deletesExtra !== true && isDryRun !== true && isSparse !== true) return;
  throw new HoldfastError('type_not_supported', 'this target takes no policy for what is there, and no dry run', {
    hint: 'recover into a folder of this machine',
  });
}

async function restoreInto(
  options: RestoreOptions,
  { snapshot: { summary }, treeId, index, steps, pool }: PreparedRestore,
  target: ThreadTargetOptions,
  tally: RestoreTally,
  signal: AbortSignal,
): Promise<void> {
  const isSmall =
    options.pool === undefined &&
    summary !== undefined &&
    summary.totalBytesProcessed < minThreadedBytes &&
    summary.totalFilesProcessed < minThreadedFiles;
  const { repository, overwrite, isDryRun = false } = options;
  const writer = isDryRun ? new DryWriter(target) : openThreadTarget(target);
  const restorerOptions = { repository, pool, target, signal };
  const openRestorer = (): PackRestorer => {
    if (isDryRun) return openDryRestorer();
    return isSmall ? openInlineRestorer(restorerOptions, writer) : openThreadedRestorer(restorerOptions);
  };
  try {
    await using restorer = openRestorer();
    const policy = overwrite === undefined ? {} : { overwrite };
    await new RestoreInto({ index, signal, steps, ...policy, isDryRun, writer, restorer, tally }).run(treeId);
  } finally {
    writer.close();
  }
}

/** The tree of a folder. Code: path_not_found. */
async function folderTree(loader: BlobLoader, topId: ObjectId, folder: string, signal: AbortSignal): Promise<ObjectId> {
  let treeId = topId;
  for (const name of folder.split('/').filter((each) => each !== '')) {
    const subtree: ObjectId | undefined = (await loader.loadTree(treeId, signal)).find((node) => node.name === name)?.subtree;
    if (subtree === undefined) throw new HoldfastError('path_not_found', `the snapshot has no folder ${folder}`);
    treeId = subtree;
  }
  return treeId;
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
