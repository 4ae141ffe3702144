import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Target, TargetWarning, ThreadTargetOptions } from '@holdfast/sources/target';
import { openThreadTarget } from '@holdfast/sources/thread-target';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader, type BlobLoader } from './blob-loader.ts';
import { DryWriter, openDryRestorer } from './dry-restore.ts';
import { DryRun, type DryRunPlan } from './dry-run.ts';
import type { FailedEntry } from './entry-failure.ts';
import { withSharedLock, type LockOptions } from './lock.ts';
import type { OverwritePolicy } from './overwrite-policy.ts';
import { nodeDecoderOf, type NodeDecoder, type OwnerMapping } from './owner-mapping.ts';
import { selectPaths, type PathSelection, type SelectOptions } from './path-selection.ts';
import type { OnProgress } from './progress.ts';
import { indexOf, lockOf, type RepositoryReading } from './repository-reading.ts';
import type { Repository } from './repository.ts';
import { RestoreInto } from './restore-into.ts';
import { openInlineRestorer, openThreadedRestorer, restoreModule, type PackRestorer } from './restore-packs.ts';
import { RestoreSteps } from './restore-steps.ts';
import { RestoreTally } from './restore-tally.ts';
import { RestoreWalk } from './restore-walk.ts';
import { assertNoCollision, findMissingPaths, folderTree } from './selection-check.ts';
import { loadSnapshot, type Snapshot } from './snapshots.ts';
import { layoutOf, type LayoutOptions, type TargetLayout } from './target-layout.ts';
import { borrowPool, type ThreadOptions } from './threads/borrowed-pool.ts';
import type { ThreadPool } from './threads/thread-pool.ts';

export interface RestoreOptions extends LockOptions, ThreadOptions {
  readonly repository: Repository;
  readonly snapshotId: ObjectId;
  /** Opened and closed by the call. */
  readonly target: Target;
  /** A folder of the snapshot that counts as its top, such as `/data`: what is in it comes to the top of the target. */
  readonly folder?: string;
  /** What is restored (with `folder`: of that); default everything. The folders above what is selected are made where they are missing. */
  readonly select?: SelectOptions;
  /** Which names are stripped from paths, and what is put before them. */
  readonly layout?: LayoutOptions;
  /** What becomes of files that are there already. By default the target says; but for `never` it has to be one that overwrites. */
  readonly overwrite?: OverwritePolicy | undefined;
  /**
   * Removes what the snapshot does not have from each folder that is restored as a whole, but for what `select` excludes. Default: it
   * stays. The top of the target is such a folder when everything is restored.
   */
  readonly deletesExtra?: boolean;
  /** Default `keep`, which only root can. */
  readonly owners?: OwnerMapping;
  /** What the target refuses of single entries (a missing right, a folder in the way) is listed in `failed`; default: it ends the recovery. */
  readonly listsRefused?: boolean;
  /** Tells what would be done, in `plan`, and does nothing. */
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
  /** How many of all these took the place of something else. */
  readonly replacedCount: number;
  /** Files, links and devices that were there and stay. */
  readonly keptCount: number;
  readonly keptBytes: number;
  /** What was there and is not in the snapshot, with what was in folders. */
  readonly removedCount: number;
  readonly removedBytes: number;
  /** What could not be set, such as an owner when not root. At most maxWarningsListed; warningCount counts all. */
  readonly warnings: readonly TargetWarning[];
  readonly warningCount: number;
  /** Files and folders that are not there, or not whole: damaged in the repository, or refused by the target. At most maxWarningsListed. */
  readonly failed: readonly FailedEntry[];
  readonly failedCount: number;
  /** These, and what was selected and cannot be: paths that the snapshot lacks, names that are none. At most maxWarningsListed. */
  readonly notPossible: readonly FailedEntry[];
  readonly notPossibleCount: number;
  /** Of a dry run. */
  readonly plan?: DryRunPlan;
}

/**
 * Writes a snapshot, or the selected part of it, to the target; every blob is checked against its hash before it is written.
 * With a policy for what is there (see overwrite-policy.ts), a recovery that was interrupted goes on where it stopped.
 * When it throws or is aborted, what was written so far is left in the target.
 * Errors: type_not_supported (an option that the target cannot keep), snapshot_missing, path_not_found (nothing selected is there),
 * request_invalid (a pattern, a layout, two entries that would come to one place), repository_damaged (the top cannot be read),
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
    const topId = await folderTree({ loader, signal }, snapshot.tree, options.folder ?? '');
    const selection = selectPaths(options.select);
    const layout = layoutOf(options.layout ?? {});
    const treeId = layout.from === '/' ? topId : await folderTree({ loader, signal }, topId, layout.from);
    const { overwrite = 'always', deletesExtra = false, owners = 'keep', isDryRun = false } = options;
    const looksAtAll = overwrite !== 'always' || typeof owners !== 'string' || isDryRun;
    const decodeNode = nodeDecoderOf(owners);
    const steps = new RestoreSteps({ index, loader, selection, layout, decodeNode, looksAtAll, deletesExtra });
    // What can be tried is what threads write to: see restoreLocked. The walk only reads; nothing is made before there is a lock.
    if (options.target.preview !== undefined) steps.goAhead(treeId, signal);
    return { snapshot, topId, treeId, index, loader, selection, layout, decodeNode, steps, pool: borrowed.pool };
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
  /** That the selection's paths begin at. */
  readonly topId: ObjectId;
  /** Of what comes to the top of the target. */
  readonly treeId: ObjectId;
  readonly index: BlobIndex;
  readonly loader: BlobLoader;
  readonly selection: PathSelection;
  readonly layout: TargetLayout;
  readonly decodeNode: NodeDecoder;
  readonly steps: RestoreSteps;
  readonly pool: ThreadPool;
}

async function restoreLocked(options: RestoreOptions, prepared: PreparedRestore, signal: AbortSignal): Promise<RestoreResult> {
  const { repository, target, isDryRun = false, isSparse = false, overwrite, owners } = options;
  const { snapshot, topId, treeId, index, loader, selection, layout } = prepared;
  const checked = { loader, selection, signal };
  const notFound = await findMissingPaths(checked, topId, layout.from, treeId);
  await assertNoCollision(checked, treeId, layout.stripComponents);
  const isWhole = selection.isEverything && layout.from === '/';
  const tally = new RestoreTally(isWhole ? snapshot.summary : undefined, options.onProgress);
  for (const path of notFound) tally.onNotPossible({ path, code: 'path_not_found', reason: 'is not in the snapshot' });
  const { onDone, onBytes } = tally;
  if (!isDryRun) await target.open();
  try {
    const threadOptions = isDryRun ? await target.preview?.() : target.threadOptions;
    let plan: DryRunPlan | undefined;
    if (threadOptions !== undefined) {
      // What is found by a later attempt then stays, so it has to be whole.
      const writesBeside = overwrite === 'never' || overwrite === 'if-newer';
      const writing = { ...threadOptions, isSparse, writesBeside, setsOwners: owners !== 'none' };
      plan = await restoreInto(options, prepared, writing, tally, signal);
    } else {
      assertNoOptions(options);
      const onFailed = (path: string, reason: string): void => tally.onFailed({ path, code: 'repository_damaged', reason });
      await new RestoreWalk({ index, loader, selection, signal, repository, target, onDone, onBytes, onFailed }).run(treeId);
    }
    tally.onWarnings(target.warnings);
    return { ...tally.toResult(), ...(plan && { plan }) };
  } finally {
    if (!isDryRun) await target.close();
  }
}

/** What only a target that a TargetWriter writes to can do. */
function assertNoOptions({ overwrite, deletesExtra, isDryRun, isSparse, owners = 'keep', layout }: RestoreOptions): void {
  const isPlain = overwrite === undefined && owners === 'keep' && layout === undefined;
  if (isPlain && deletesExtra !== true && isDryRun !== true && isSparse !== true) return;
  throw new HoldfastError('type_not_supported', 'this target takes no policy for what is there, and no dry run', {
    hint: 'recover into a folder of this machine',
  });
}

async function restoreInto(
  options: RestoreOptions,
  { snapshot: { summary }, treeId, index, steps, pool, decodeNode }: PreparedRestore,
  target: ThreadTargetOptions,
  tally: RestoreTally,
  signal: AbortSignal,
): Promise<DryRunPlan | undefined> {
  const isSmall =
    options.pool === undefined &&
    summary !== undefined &&
    summary.totalBytesProcessed < minThreadedBytes &&
    summary.totalFilesProcessed < minThreadedFiles;
  const { repository, overwrite, isDryRun = false, listsRefused = false } = options;
  const run = new DryRun(target.root);
  const dryRun = isDryRun ? { run, writer: new DryWriter(target, run) } : undefined;
  const writer = dryRun?.writer ?? openThreadTarget(target);
  const restorerOptions = { repository, pool, target, signal };
  const openRestorer = (): PackRestorer => {
    if (isDryRun) return openDryRestorer();
    return isSmall ? openInlineRestorer(restorerOptions, writer) : openThreadedRestorer(restorerOptions);
  };
  try {
    await using restorer = openRestorer();
    const policy = overwrite === undefined ? {} : { overwrite };
    await new RestoreInto({ index, signal, steps, ...policy, decodeNode, dryRun, listsRefused, writer, restorer, tally }).run(treeId);
  } finally {
    writer.close();
  }
  if (!isDryRun) return undefined;
  const { plan, noSpace } = run.toPlan();
  for (const entry of noSpace) tally.onNotPossible(entry);
  return plan;
}
