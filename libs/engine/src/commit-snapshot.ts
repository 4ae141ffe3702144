import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { snapshotName } from '@holdfast/restic-format/layout';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { encodeSnapshotFile } from '@holdfast/restic-format/snapshot-file';
import { encodeTree } from '@holdfast/restic-format/tree';
import type { ArchiveSummary, ArchiveTally } from './archive-tally.ts';
import type { ArchiveResult } from './archiver.ts';
import type { Clock } from './clock.ts';
import { saveNamedFile } from './named-file.ts';
import type { Repository } from './repository.ts';
import type { Snapshot } from './snapshots.ts';
import type { StoredTree } from './stored-tree.ts';

/** What a backup's snapshot says, beside its tree. */
export interface SnapshotOptions {
  readonly repository: Repository;
  /** Files with this snapshot's size, times and inode are not read again, where that can be seen. See chooseParent. */
  readonly parent?: Snapshot;
  readonly hostname: string;
  readonly username: string;
  readonly tags?: readonly string[];
  /** The snapshot's time; by default the clock's when the call begins. */
  readonly time?: Date;
  /** Only noted in the snapshot: leaving things out is the source's work. */
  readonly excludes?: readonly string[];
  readonly programVersion?: string;
  /**
   * Called once, when packs and index are durable: it must call `write`, which writes the snapshot file, and return its id.
   * Here the caller fences the commit; throwing leaves no snapshot.
   */
  readonly commit?: (write: () => Promise<ObjectId>) => Promise<ObjectId>;
}

interface SnapshotToCommit extends SnapshotOptions {
  readonly paths: readonly string[];
}

interface CommitContext {
  readonly startedAt: Date;
  readonly tally: ArchiveTally;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A backup of nothing is a mistake in its paths, not a success. */
const emptyTreeId = hashOf(encodeTree([]));

/** Makes the tree durable and writes its snapshot. Errors: path_not_found for a tree of nothing, those of the storage and of `commit`. */
export async function commitSnapshot(
  options: SnapshotToCommit,
  stored: StoredTree,
  { startedAt, tally, clock, signal }: CommitContext,
): Promise<ArchiveResult> {
  const { repository, paths, commit = (write) => write() } = options;
  const { treeId, counts } = stored;
  if (treeId === emptyTreeId) throw new HoldfastError('path_not_found', `${paths.join(' ')} shows nothing that could be backed up`);
  tally.report('saving');
  await stored.finish(signal);
  const { dataBlobs, treeBlobs, addedBytes, addedPackedBytes } = counts;
  const summary: ArchiveSummary = { ...tally.counts, dataBlobs, treeBlobs, dataAdded: addedBytes, dataAddedPacked: addedPackedBytes };
  const bytes = encodeSnapshot(options, treeId, summary, startedAt, clock.now());
  let written: Promise<ObjectId> | undefined;
  signal.throwIfAborted();
  const snapshotId = await commit(() => (written ??= saveNamedFile(repository, snapshotName, bytes, signal)));
  const { skipped, skippedCount, warnings } = tally;
  return { snapshotId, treeId, summary, skipped, skippedCount, warnings };
}

function encodeSnapshot(options: SnapshotToCommit, treeId: ObjectId, summary: ArchiveSummary, startedAt: Date, endedAt: Date): Uint8Array {
  const { parent, paths, hostname, username, tags, excludes, programVersion, repository, time = startedAt } = options;
  return encodeSnapshotFile(
    {
      timeNs: nanoseconds(time),
      ...(parent === undefined ? {} : { parent: parent.id }),
      tree: treeId,
      paths,
      hostname,
      username,
      ...(excludes === undefined || excludes.length === 0 ? {} : { excludes }),
      ...(tags === undefined || tags.length === 0 ? {} : { tags }),
      ...(programVersion === undefined ? {} : { programVersion }),
      summary: { backupStartNs: nanoseconds(startedAt), backupEndNs: nanoseconds(endedAt), ...summary },
    },
    repository.cipher,
  );
}

function nanoseconds(time: Date): bigint {
  return BigInt(time.getTime()) * 1_000_000n;
}
