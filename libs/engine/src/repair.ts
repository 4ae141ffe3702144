import { encodeIndexFile, splitIndex, type IndexedPack } from '@holdfast/restic-format/index-file';
import { idOfName, indexName, indexPrefix, packName, snapshotName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { PackedBlob } from '@holdfast/restic-format/pack';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { createBlobIndex, type BlobIndex } from './blob-index.ts';
import { createBlobLoader } from './blob-loader.ts';
import { systemClock } from './clock.ts';
import { isDamage } from './damage.ts';
import { loadIndex } from './load-index.ts';
import { withLock, type Lock, type LockOptions } from './lock.ts';
import { saveNamedFile } from './named-file.ts';
import { listPackSizes } from './pack-list.ts';
import { createPacker } from './packer.ts';
import type { OnProgress } from './progress.ts';
import { createLossWalk, type Loss } from './repair-losses.ts';
import { examinePack, examineWholePack, type PackState } from './repair-packs.ts';
import { repairedTag, rewriteSnapshots } from './repair-snapshots.ts';
import type { Repository } from './repository.ts';
import { forEachConcurrently } from './slots.ts';
import { listSnapshotIds, loadSnapshot, type Snapshot } from './snapshots.ts';

export interface RepairOptions extends LockOptions {
  readonly repository: Repository;
  /**
   * `index`: the index is made to say what is in the packs, by their sizes and headers; reads little. `packs`: every byte of every
   * pack is read too, and what is damaged goes.
   */
  readonly level: 'index' | 'packs';
  /**
   * Of damaged snapshots: `report` (default) only says what they have lost; `rewrite` also writes one of what is left of each, tagged
   * `repaired`; `replace` then removes the damaged one.
   */
  readonly snapshots?: 'report' | 'rewrite' | 'replace';
  /** Only says what would be done. */
  readonly dryRun?: boolean;
  /** An exclusive lock that the caller holds already (shared for a dry run); by default one is taken for the call. */
  readonly lock?: Lock;
  readonly onProgress?: OnProgress;
}

export interface RepairResult {
  readonly dryRun: boolean;
  readonly isIndexRewritten: boolean;
  readonly damagedIndexFiles: readonly Unreadable[];
  /** In the storage and in no index before, or otherwise than the index said. */
  readonly packsIndexed: number;
  /** Named by the index and not in the storage. */
  readonly missingPacks: readonly ObjectId[];
  readonly brokenPacks: readonly BrokenPack[];
  readonly unreadableSnapshots: readonly Unreadable[];
  /** At most maxLossesListed; lossCount counts all. */
  readonly losses: readonly Loss[];
  readonly lossCount: number;
  /** Those that have lost something. */
  readonly damagedSnapshots: readonly ObjectId[];
  readonly rewritten: readonly { readonly from: ObjectId; readonly to: ObjectId }[];
}

export interface Unreadable {
  readonly id: ObjectId;
  readonly reason: string;
}

export interface BrokenPack {
  readonly packId: ObjectId;
  readonly reason: string;
  /** Moved to a new pack. */
  readonly blobsSaved: number;
  /** Those that are known of; a pack whose header is gone and that no index names hides what was in it. */
  readonly blobsLost: number;
}

/** The list is for people; the count tells the rest. */
export const maxLossesListed = 1000;
/** Packs in memory at once, 16 MiB each as a rule. */
const concurrentPacks = 3;
/** Bounds the memory while an index is written. */
const packsPerIndexFile = 1000;

/**
 * Makes a damaged repository one that is whole, of what is left: blobs that still open are moved out of broken packs, then a new index
 * is written, then the old index and the broken packs go. A crash anywhere is harmless, and the next call goes on. What snapshots have
 * lost is a result; they are touched only when asked. Errors: repository_locked, those of the storage.
 */
export async function repair(options: RepairOptions): Promise<RepairResult> {
  return await withLock({ ...options, exclusive: options.dryRun !== true }, (signal) => new Repair(options, signal).run());
}

class Repair {
  readonly #options: RepairOptions;
  readonly #repository: Repository;
  readonly #signal: AbortSignal;
  readonly #damagedIndexFiles: Unreadable[] = [];
  readonly #brokenPacks: BrokenPack[] = [];
  readonly #unreadableSnapshots: Unreadable[] = [];
  readonly #losses: Loss[] = [];
  #lossCount = 0;
  #packsIndexed = 0;

  constructor(options: RepairOptions, signal: AbortSignal) {
    this.#options = options;
    this.#repository = options.repository;
    this.#signal = signal;
  }

  async run(): Promise<RepairResult> {
    const { dryRun = false, snapshots: mode = 'report' } = this.#options;
    const snapshots = await this.#loadSnapshots();
    const packSizes = await listPackSizes(this.#repository, this.#signal);
    const { index: old } = await loadIndex(this.#repository, {
      signal: this.#signal,
      onDamaged: (id, error) => this.#damagedIndexFiles.push({ id, reason: error.message }),
    });
    const index = createBlobIndex();
    const missingPacks = [...old.packs()].map(({ packId }) => packId).filter((packId) => !packSizes.has(packId));
    const broken = await this.#examinePacks(old, packSizes, index);
    const isIndexRewritten = this.#damagedIndexFiles.length + this.#packsIndexed + missingPacks.length + broken.length > 0;
    await this.#save(broken, index, dryRun);
    if (isIndexRewritten && !dryRun) await this.#replaceIndex(index);
    if (!dryRun) for (const { packId } of broken) await this.#repository.storage.delete(packName(packId), { signal: this.#signal });

    const damaged = await this.#findLosses(snapshots, index);
    const rewritten = dryRun || mode === 'report' ? [] : await this.#rewrite(damaged, snapshots, index, mode === 'replace');
    return {
      dryRun,
      isIndexRewritten,
      damagedIndexFiles: this.#damagedIndexFiles,
      packsIndexed: this.#packsIndexed,
      missingPacks,
      brokenPacks: this.#brokenPacks,
      unreadableSnapshots: this.#unreadableSnapshots,
      losses: this.#losses,
      lossCount: this.#lossCount,
      damagedSnapshots: damaged.map(({ id }) => id),
      rewritten,
    };
  }

  async #loadSnapshots(): Promise<Snapshot[]> {
    const snapshots: Snapshot[] = [];
    for (const id of await listSnapshotIds(this.#repository, this.#signal)) {
      try {
        snapshots.push(await loadSnapshot(this.#repository, id, { signal: this.#signal }));
      } catch (error) {
        if (isHoldfastError(error, 'snapshot_missing')) continue; // forgotten since it was listed
        if (!isDamage(error)) throw error;
        this.#unreadableSnapshots.push({ id, reason: error.message });
      }
    }
    return snapshots;
  }

  /** Puts the whole packs into `index` and gives the broken ones. */
  async #examinePacks(old: BlobIndex, packSizes: ReadonlyMap<ObjectId, number>, index: BlobIndex): Promise<Broken[]> {
    const entriesOf = new Map([...old.packs()].map(({ packId, entries }) => [packId, entries]));
    const broken: Broken[] = [];
    let done = 0;
    const examine = this.#options.level === 'packs' ? examineWholePack : examinePack;
    await forEachConcurrently(packSizes, concurrentPacks, async ([packId, sizeBytes]) => {
      this.#signal.throwIfAborted();
      const indexed = (entriesOf.get(packId) ?? []).map((entry) => old.at(entry));
      const state = await examine(this.#repository, { packId, sizeBytes, indexed }, this.#signal);
      if (state.kind === 'broken') {
        broken.push({ ...state, packId });
      } else {
        if (!isSame(state.pack.blobs, indexed)) this.#packsIndexed++;
        index.add(state.pack);
      }
      this.#options.onProgress?.({
        phase: 'checking_packs',
        filesDone: ++done,
        filesTotal: packSizes.size,
        bytesDone: 0,
        bytesTotal: null,
      });
    });
    return broken;
  }

  /** Moves what still opens out of the broken packs, unless a whole pack has it too. A dry run leaves it where it is. */
  async #save(broken: readonly Broken[], index: BlobIndex, dryRun: boolean): Promise<void> {
    const { clock = systemClock } = this.#options;
    const sink = createPacker({ repository: this.#repository, index, compression: 'auto', clock, signal: this.#signal });
    const taken = new Set<string>();
    try {
      for (const { packId, reason, good, badCount } of broken) {
        const wanted = good.filter(({ type, id }) => !index.has(type, id) && !taken.has(type + id));
        for (const { type, id } of wanted) taken.add(type + id);
        this.#brokenPacks.push({ packId, reason, blobsSaved: wanted.length, blobsLost: badCount });
        if (dryRun) index.add({ id: packId, blobs: wanted });
        else for (const blob of wanted) await sink.saveSealed(blob.type, { ...blob, bytes: await this.#readSealed(packId, blob) });
      }
      if (!dryRun) await sink.finish();
    } finally {
      await sink.settle();
    }
  }

  async #readSealed(packId: ObjectId, { offset, length }: PackedBlob): Promise<Uint8Array> {
    const range = { offsetBytes: offset, lengthBytes: length };
    return await this.#repository.storage.get(packName(packId), { range, signal: this.#signal });
  }

  /** The new index before the old one goes: in between each blob is in both. */
  async #replaceIndex(index: BlobIndex): Promise<void> {
    const former: ObjectId[] = [];
    for await (const { name } of this.#repository.storage.list(indexPrefix, { signal: this.#signal })) {
      const id = idOfName(name);
      if (id !== null) former.push(id);
    }
    let packs: IndexedPack[] = [];
    const write = async (): Promise<void> => {
      for (const group of splitIndex(packs)) {
        await saveNamedFile(this.#repository, indexName, encodeIndexFile({ packs: group }, this.#repository.cipher), this.#signal);
      }
      packs = [];
    };
    for (const { packId, entries } of index.packs()) {
      packs.push({ id: packId, blobs: entries.map((entry) => index.at(entry)) });
      if (packs.length >= packsPerIndexFile) await write();
    }
    await write();
    for (const id of former) await this.#repository.storage.delete(indexName(id), { signal: this.#signal });
  }

  async #findLosses(snapshots: readonly Snapshot[], index: BlobIndex): Promise<Snapshot[]> {
    let treeCount = 0;
    const lossWalk = createLossWalk({
      index,
      loader: createBlobLoader(this.#repository, index),
      signal: this.#signal,
      onLoss: (loss) => {
        this.#lossCount++;
        if (this.#losses.length < maxLossesListed) this.#losses.push(loss);
      },
      onTree: () =>
        this.#options.onProgress?.({ phase: 'checking_trees', filesDone: ++treeCount, filesTotal: null, bytesDone: 0, bytesTotal: null }),
    });
    const damaged: Snapshot[] = [];
    for (const snapshot of snapshots) if (!(await lossWalk.walk(snapshot))) damaged.push(snapshot);
    return damaged;
  }

  async #rewrite(
    damaged: readonly Snapshot[],
    snapshots: readonly Snapshot[],
    index: BlobIndex,
    removeOld: boolean,
  ): Promise<{ from: ObjectId; to: ObjectId }[]> {
    const { clock = systemClock } = this.#options;
    // Of a former call, which may have ended before the damaged ones went.
    const former = new Map(
      snapshots
        .filter((snapshot) => snapshot.tags?.includes(repairedTag) === true && !damaged.includes(snapshot))
        .map((snapshot) => [snapshot.original, snapshot.id]),
    );
    const formerOf = (snapshot: Snapshot): ObjectId | undefined => former.get(snapshot.original ?? snapshot.id);
    const missing = damaged.filter((snapshot) => formerOf(snapshot) === undefined);
    const rewritten = await rewriteSnapshots(missing, { repository: this.#repository, index, clock, signal: this.#signal });
    for (const snapshot of damaged) {
      const to = formerOf(snapshot);
      if (to !== undefined) rewritten.push({ from: snapshot.id, to });
    }
    const { storage } = this.#repository;
    if (removeOld) for (const { from } of rewritten) await storage.delete(snapshotName(from), { signal: this.#signal });
    return rewritten;
  }
}

type Broken = Extract<PackState, { kind: 'broken' }> & { readonly packId: ObjectId };

const describe = ({ type, id, offset, length, uncompressedLength = 0 }: PackedBlob): string =>
  `${type} ${id} ${offset} ${length} ${uncompressedLength}`;

function isSame(a: readonly PackedBlob[], b: readonly PackedBlob[]): boolean {
  if (a.length !== b.length) return false;
  const known = new Set(a.map(describe));
  return b.every((blob) => known.has(describe(blob)));
}
