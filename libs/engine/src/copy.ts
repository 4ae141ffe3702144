import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { CompressionMode } from '@holdfast/restic-format/compression';
import { snapshotName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { encodeSnapshotFile } from '@holdfast/restic-format/snapshot-file';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader } from './blob-loader.ts';
import { systemClock } from './clock.ts';
import { copyBlobs } from './copy-blobs.ts';
import { isDamage } from './damage.ts';
import { indexLandedPacks } from './index-landed-packs.ts';
import { loadIndex } from './load-index.ts';
import { withLock, type Lock, type LockOptions } from './lock.ts';
import { saveNamedFile } from './named-file.ts';
import { createPacker } from './packer.ts';
import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';
import { listSnapshotIds, listSnapshots, loadSnapshot, type Snapshot } from './snapshots.ts';
import { forEachConcurrently } from './slots.ts';
import { markUsedBlobs } from './used-blobs.ts';

export interface CopyOptions extends LockOptions {
  readonly from: Repository;
  readonly to: Repository;
  /** Of `from`; default: all of them. One that is not there is snapshot_missing. */
  readonly snapshotIds?: readonly ObjectId[];
  /** Instead: chooses among those that are there, oldest first, once the lock keeps them there. */
  readonly choose?: (snapshots: readonly Snapshot[]) => Promise<readonly ObjectId[]>;
  /** Default auto: what `from` holds as it is is compressed on the way. What is compressed stays as it is. */
  readonly compression?: CompressionMode;
  /** Locks that the caller holds already; by default shared ones are taken for the call. */
  readonly fromLock?: Lock;
  readonly toLock?: Lock;
  /**
   * Takes part in the writing of snapshots, some at a time: `write` looks again for copies that others have made meanwhile, writes the
   * rest and gives them all. Nobody else may be writing copies then, if there are to be no two of one snapshot.
   */
  readonly commit?: (write: (signal: AbortSignal) => Promise<readonly SnapshotCopy[]>) => Promise<void>;
  /** Whether packs of `to` that are in no index are put in one first: a former run may have been killed. */
  readonly indexLanded?: boolean;
  readonly onProgress?: OnProgress;
}

/** A snapshot of the one repository and its copy in the other; `tags` are those of both. */
export interface SnapshotCopy {
  readonly from: ObjectId;
  readonly to: ObjectId;
  readonly tags: readonly string[];
}

export interface CopyResult {
  readonly copied: readonly SnapshotCopy[];
  /** Copied before, by this or by restic. */
  readonly alreadyThere: readonly SnapshotCopy[];
  /** Not whole in `from`, so nothing of them is shown in `to`. */
  readonly failed: readonly { readonly from: ObjectId; readonly reason: string }[];
  readonly blobsCopied: number;
  /** As they lay in `from`. */
  readonly bytesCopied: number;
  /** What was added to the index of `to`, and what it weighs there. */
  readonly packIds: readonly ObjectId[];
  readonly packBytes: number;
  /** Whether both cut files alike. If not, a later backup to `to` finds nothing of the copied large files again. */
  readonly cutsAlike: boolean;
}

/** Snapshots whose blobs are gathered before they are read: neighbours of a pack come together, and a crash costs one round. */
const snapshotsPerRound = 32;
/** Small files: enough at once to hide a network's latency. */
const concurrentLoads = 16;

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
  readonly #copied: SnapshotCopy[] = [];
  readonly #alreadyThere: SnapshotCopy[] = [];
  readonly #failed: { from: ObjectId; reason: string }[] = [];
  /** Snapshots of `to` that were looked at, and which of `from` they may be copies of. */
  readonly #seen = new Set<ObjectId>();
  readonly #copies = new Map<string, ObjectId>();
  #blobsCopied = 0;
  #bytesCopied = 0;
  #packBytes = 0;
  #snapshotCount = 0;
  #isLastRound = false;

  constructor(options: CopyOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  async run(): Promise<CopyResult> {
    const { from, to, clock = systemClock, indexLanded = false } = this.#options;
    const signal = this.#signal;
    const wanted = await this.#choose();
    await this.#lookForCopies(signal);
    const missing = this.#withoutCopies(wanted);
    let packIds: ObjectId[] = [];
    if (missing.length > 0) {
      this.#snapshotCount = missing.length;
      // What a damaged file of it names is missing, and so are the snapshots that need it: the others are copied.
      const onDamaged = (id: ObjectId, error: HoldfastError): void => this.#warn(`index ${id} of ${from.storage.location}`, error);
      const fromIndex = (await loadIndex(from, { signal, onDamaged })).index;
      const toIndex = (await loadIndex(to, { signal })).index;
      if (indexLanded) await indexLandedPacks(to, toIndex, { clock, signal });
      const before = new Set(Array.from(toIndex.packs(), ({ packId }) => packId));
      for (let at = 0; at < missing.length; at += snapshotsPerRound) {
        this.#isLastRound = at + snapshotsPerRound >= missing.length;
        await this.#copyRound(missing.slice(at, at + snapshotsPerRound), fromIndex, toIndex);
      }
      packIds = Array.from(toIndex.packs(), ({ packId }) => packId).filter((id) => !before.has(id));
    }
    return {
      copied: this.#copied,
      alreadyThere: this.#alreadyThere,
      failed: this.#failed,
      blobsCopied: this.#blobsCopied,
      bytesCopied: this.#bytesCopied,
      packIds,
      packBytes: this.#packBytes,
      cutsAlike: from.chunkerPolynomial === to.chunkerPolynomial,
    };
  }

  /** Those that are wanted. One of them that cannot be read has failed. */
  async #choose(): Promise<Snapshot[]> {
    const { snapshotIds, choose, from } = this.#options;
    const unreadable = new Map<ObjectId, string>();
    const onUnreadable = (id: ObjectId, error: HoldfastError): void => void unreadable.set(id, error.message);
    const snapshots = await listSnapshots(from, { signal: this.#signal, onUnreadable });
    const ids = snapshotIds ?? (await choose?.(snapshots));
    const wanted = new Set(ids ?? [...snapshots.map(({ id }) => id), ...unreadable.keys()]);
    for (const [id, reason] of unreadable) {
      // Who chooses by what snapshots say cannot choose one that says nothing.
      if (wanted.delete(id) || choose !== undefined) this.#failed.push({ from: id, reason });
    }
    const chosen = snapshots.filter(({ id }) => wanted.delete(id));
    const [absent] = wanted;
    if (absent === undefined) return chosen;
    throw new HoldfastError('snapshot_missing', `snapshot ${absent} is not in ${from.storage.location}`);
  }

  /** Looks at the snapshots of `to` that were not looked at yet. One that cannot be read is no copy of anything. */
  async #lookForCopies(signal: AbortSignal): Promise<void> {
    const { to } = this.#options;
    const unseen = (await listSnapshotIds(to, signal)).filter((id) => !this.#seen.has(id));
    await forEachConcurrently(unseen, concurrentLoads, async (id) => {
      try {
        const snapshot = to.knownSnapshots?.get(id) ?? (await loadSnapshot(to, id, { signal }));
        to.knownSnapshots?.add(snapshot);
        this.#copies.set(copyKey(snapshot), id);
      } catch (error) {
        if (!isDamage(error) && !isHoldfastError(error, 'snapshot_missing')) throw error;
        this.#warn(`snapshot ${id} of ${to.storage.location}`, error);
      }
      this.#seen.add(id);
    });
  }

  #withoutCopies(snapshots: readonly Snapshot[]): Snapshot[] {
    return snapshots.filter((snapshot) => {
      const copy = this.#copies.get(copyKey(snapshot));
      if (copy !== undefined) this.#alreadyThere.push({ from: snapshot.id, to: copy, tags: snapshot.tags ?? [] });
      return copy === undefined;
    });
  }

  #warn(what: string, error: unknown): void {
    this.#options.onWarning?.(`${what} cannot be read; left aside`, error);
  }

  /** Damage in one snapshot must not hold up the others: then each is a round of its own. */
  async #copyRound(snapshots: readonly Snapshot[], fromIndex: BlobIndex, toIndex: BlobIndex): Promise<void> {
    const { commit = (write) => write(this.#signal).then(() => undefined) } = this.#options;
    try {
      await this.#copyBlobsOf(snapshots, fromIndex, toIndex);
    } catch (error) {
      if (!isDamage(error) || this.#signal.aborted) throw error;
      const [only] = snapshots;
      if (snapshots.length === 1 && only !== undefined) this.#failed.push({ from: only.id, reason: error.message });
      else for (const snapshot of snapshots) await this.#copyRound([snapshot], fromIndex, toIndex);
      return;
    }
    await commit((signal) => this.#writeSnapshots(snapshots, AbortSignal.any([signal, this.#signal])));
  }

  async #writeSnapshots(snapshots: readonly Snapshot[], signal: AbortSignal): Promise<SnapshotCopy[]> {
    const { to } = this.#options;
    await this.#lookForCopies(signal);
    const knownCount = this.#alreadyThere.length;
    const written: SnapshotCopy[] = [];
    for (const snapshot of this.#withoutCopies(snapshots)) {
      const { id, parent: _parent, ...rest } = snapshot;
      const bytes = encodeSnapshotFile({ ...rest, original: snapshot.original ?? id }, to.cipher);
      written.push({ from: id, to: await saveNamedFile(to, snapshotName, bytes, signal), tags: snapshot.tags ?? [] });
    }
    this.#copied.push(...written);
    return [...this.#alreadyThere.slice(knownCount), ...written];
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
    const bytesBefore = this.#bytesCopied;
    try {
      await copyBlobs(missingBlobs(fromIndex, marks, toIndex), {
        from,
        to,
        sink,
        signal,
        onCopied: (lengthBytes, bytesOfRound) => {
          this.#blobsCopied++;
          this.#bytesCopied += lengthBytes;
          // What later rounds will need is not known before they begin.
          const bytesTotal = this.#isLastRound ? bytesBefore + bytesOfRound : null;
          const [filesDone, filesTotal] = [this.#copied.length, this.#snapshotCount];
          onProgress({ phase: 'copying', filesDone, filesTotal, bytesDone: this.#bytesCopied, bytesTotal });
        },
      });
    } finally {
      // What was read before a damage was met is whole, and the next try need not fetch it again.
      if (!signal.aborted) await sink.finish();
      await sink.settle();
      this.#packBytes += sink.counts.packBytes;
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
