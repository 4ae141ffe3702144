import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { CompressionMode } from '@holdfast/restic-format/compression';
import { snapshotName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { encodeSnapshotFile } from '@holdfast/restic-format/snapshot-file';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader } from './blob-loader.ts';
import { systemClock } from './clock.ts';
import { copyBlobs } from './copy-blobs.ts';
import { isDamage } from './damage.ts';
import { loadIndex } from './load-index.ts';
import { withLock, type Lock, type LockOptions } from './lock.ts';
import { saveNamedFile } from './named-file.ts';
import { createPacker } from './packer.ts';
import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';
import { listSnapshots, type Snapshot } from './snapshots.ts';
import { markUsedBlobs } from './used-blobs.ts';

export interface CopyOptions extends LockOptions {
  readonly from: Repository;
  readonly to: Repository;
  /** Of `from`; default: all of them. One that is not there is snapshot_missing. */
  readonly snapshotIds?: readonly ObjectId[];
  /** Default auto: what `from` holds as it is is compressed on the way. What is compressed stays as it is. */
  readonly compression?: CompressionMode;
  /** Locks that the caller holds already; by default shared ones are taken for the call. */
  readonly fromLock?: Lock;
  readonly toLock?: Lock;
  readonly onProgress?: OnProgress;
}

export interface CopyResult {
  readonly copied: readonly { readonly from: ObjectId; readonly to: ObjectId }[];
  /** Copied before, by this or by restic. */
  readonly alreadyThere: readonly { readonly from: ObjectId; readonly to: ObjectId }[];
  /** Not whole in `from`, so nothing of them is shown in `to`. */
  readonly failed: readonly { readonly from: ObjectId; readonly reason: string }[];
  readonly blobsCopied: number;
  readonly bytesCopied: number;
  /** Whether both cut files alike. If not, a later backup to `to` finds nothing of the copied large files again. */
  readonly cutsAlike: boolean;
}

/** Snapshots whose blobs are gathered before they are read: neighbours of a pack come together, and a crash costs one round. */
const snapshotsPerRound = 32;

/**
 * Copies snapshots into another repository: only the blobs that it lacks, each opened, checked and sealed under its keys, cut as they
 * are. Packs, then index, then snapshots: a crash leaves nothing that shows, and the next call goes on with what has landed. The copy
 * of a snapshot notes its original, as restic's does; one that is there already is left alone.
 * Errors: request_invalid (a repository into itself), snapshot_missing, repository_locked, those of both storages.
 */
export async function copySnapshots(options: CopyOptions): Promise<CopyResult> {
  const { from, to, fromLock, toLock, ...lockOptions } = options;
  if (from.id === to.id) throw new HoldfastError('request_invalid', `${to.storage.location} is the repository that is copied from`);
  const shared = { ...lockOptions, exclusive: false };
  return await withLock({ ...shared, repository: from, ...(fromLock === undefined ? {} : { lock: fromLock }) }, (fromSignal) =>
    withLock({ ...shared, repository: to, ...(toLock === undefined ? {} : { lock: toLock }) }, (toSignal) =>
      new Copy(options, AbortSignal.any([fromSignal, toSignal])).run(),
    ),
  );
}

class Copy {
  readonly #options: CopyOptions;
  readonly #signal: AbortSignal;
  readonly #copied: { from: ObjectId; to: ObjectId }[] = [];
  readonly #failed: { from: ObjectId; reason: string }[] = [];
  #blobsCopied = 0;
  #bytesCopied = 0;

  constructor(options: CopyOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  async run(): Promise<CopyResult> {
    const { from, to } = this.#options;
    const signal = this.#signal;
    const wanted = this.#choose(await listSnapshots(from, { signal }));
    const present = new Map((await listSnapshots(to, { signal })).map((snapshot) => [copyKey(snapshot), snapshot.id]));
    const alreadyThere: { from: ObjectId; to: ObjectId }[] = [];
    const missing: Snapshot[] = [];
    for (const snapshot of wanted) {
      const copy = present.get(copyKey(snapshot));
      if (copy === undefined) missing.push(snapshot);
      else alreadyThere.push({ from: snapshot.id, to: copy });
    }
    if (missing.length > 0) {
      const fromIndex = (await loadIndex(from, { signal })).index;
      const toIndex = (await loadIndex(to, { signal })).index;
      for (let at = 0; at < missing.length; at += snapshotsPerRound) {
        await this.#copyRound(missing.slice(at, at + snapshotsPerRound), fromIndex, toIndex);
      }
    }
    return {
      copied: this.#copied,
      alreadyThere,
      failed: this.#failed,
      blobsCopied: this.#blobsCopied,
      bytesCopied: this.#bytesCopied,
      cutsAlike: from.chunkerPolynomial === to.chunkerPolynomial,
    };
  }

  #choose(snapshots: readonly Snapshot[]): Snapshot[] {
    const { snapshotIds, from } = this.#options;
    if (snapshotIds === undefined) return [...snapshots];
    const wanted = new Set(snapshotIds);
    const chosen = snapshots.filter(({ id }) => wanted.delete(id));
    const [absent] = wanted;
    if (absent === undefined) return chosen;
    throw new HoldfastError('snapshot_missing', `snapshot ${absent} is not in ${from.storage.location}`);
  }

  /** Damage in one snapshot must not hold up the others: then each is a round of its own. */
  async #copyRound(snapshots: readonly Snapshot[], fromIndex: BlobIndex, toIndex: BlobIndex): Promise<void> {
    try {
      await this.#copyBlobsOf(snapshots, fromIndex, toIndex);
    } catch (error) {
      if (!isDamage(error) || this.#signal.aborted) throw error;
      const [only] = snapshots;
      if (snapshots.length === 1 && only !== undefined) this.#failed.push({ from: only.id, reason: error.message });
      else for (const snapshot of snapshots) await this.#copyRound([snapshot], fromIndex, toIndex);
      return;
    }
    for (const snapshot of snapshots) {
      const { id, parent: _parent, ...rest } = snapshot;
      const bytes = encodeSnapshotFile({ ...rest, original: snapshot.original ?? id }, this.#options.to.cipher);
      this.#copied.push({ from: id, to: await saveNamedFile(this.#options.to, snapshotName, bytes, this.#signal) });
    }
  }

  async #copyBlobsOf(snapshots: readonly Snapshot[], fromIndex: BlobIndex, toIndex: BlobIndex): Promise<void> {
    const { from, to, compression = 'auto', clock = systemClock, onProgress = () => {} } = this.#options;
    const signal = this.#signal;
    const { marks } = await markUsedBlobs(
      snapshots.map((snapshot) => snapshot.tree),
      {
        index: fromIndex,
        loader: createBlobLoader(from, fromIndex),
        signal,
        onMissing: (type, id) => {
          throw new HoldfastError('repository_damaged', `${type} blob ${id} is needed and in no index`);
        },
        onDamagedTree: (id, reason) => {
          throw new HoldfastError('repository_damaged', `tree ${id} cannot be read: ${reason}`);
        },
        onTree: (treeCount) => onProgress({ phase: 'marking', filesDone: treeCount, filesTotal: null, bytesDone: 0, bytesTotal: null }),
      },
    );
    const sink = createPacker({ repository: to, index: toIndex, compression, clock, signal });
    try {
      await copyBlobs(missingBlobs(fromIndex, marks, toIndex), {
        from,
        to,
        sink,
        signal,
        onCopied: (lengthBytes, bytesTotal) => {
          this.#blobsCopied++;
          this.#bytesCopied += lengthBytes;
          onProgress({ phase: 'copying', filesDone: this.#copied.length, filesTotal: null, bytesDone: this.#bytesCopied, bytesTotal });
        },
      });
    } finally {
      // What was read before a damage was met is whole, and the next try need not fetch it again.
      if (!signal.aborted) await sink.finish();
      await sink.settle();
    }
  }
}

const sorted = (texts: readonly string[] | undefined): string[] => (texts ?? []).toSorted();

/** What two snapshots agree on when one is the copy of the other; all but the parent, as restic has it. */
function copyKey(snapshot: Snapshot): string {
  const { timeNs, tree, hostname, username, uid, gid, paths, tags, excludes, original, id } = snapshot;
  return JSON.stringify([
    String(timeNs),
    original ?? id,
    tree,
    hostname ?? '',
    username ?? '',
    uid ?? 0,
    gid ?? 0,
    sorted(paths),
    sorted(tags),
    sorted(excludes),
  ]);
}

function* missingBlobs(fromIndex: BlobIndex, marks: Uint8Array, toIndex: BlobIndex) {
  for (const [entry, mark] of marks.entries()) {
    if (mark !== 1) continue;
    const blob = fromIndex.at(entry);
    if (!toIndex.has(blob.type, blob.id)) yield blob;
  }
}
