import { idOfName, indexName, keysPrefix, packName, snapshotName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { packTailSize } from '@holdfast/restic-format/pack';
import { isHoldfastError, type HoldfastError } from '@holdfast/errors/holdfast-error';
import { noteAffectedPaths } from './affected-paths.ts';
import type { BlobIndex, BlobPlace } from './blob-index.ts';
import { createBlobLoader, type BlobLoader } from './blob-loader.ts';
import { choosePacks } from './check-subset.ts';
import type { CheckOptions, CheckResult } from './checker.ts';
import type { CheckedPack, PackToCheck } from './check-pack.ts';
import { checkPacks } from './check-packs.ts';
import { isDamage } from './damage.ts';
import { FindingList } from './finding-list.ts';
import { loadIndex } from './load-index.ts';
import { loadNamedFile } from './named-file.ts';
import { listPackSizes } from './pack-list.ts';
import type { EnginePhase } from './progress.ts';
import { PackedEntries } from './packed-entries.ts';
import { listSnapshotIds, loadSnapshot, type Snapshot } from './snapshots.ts';
import type { ThreadPool } from './threads/thread-pool.ts';
import { TreeGraph } from './tree-references.ts';
import { markUsedBlobs, type UsedBlobs } from './used-blobs.ts';

/** One check from its beginning to its result. */
export class CheckRun {
  readonly #options: CheckOptions;
  readonly #pool: ThreadPool;
  readonly #signal: AbortSignal;
  readonly #findings = new FindingList();
  readonly #counts = { snapshotsChecked: 0, packsChecked: 0, treesChecked: 0, blobsChecked: 0, bytesRead: 0 };
  #packsRead: ReadonlySet<ObjectId> = new Set();

  /** Pools, locks and the signal are the caller's. */
  constructor(options: CheckOptions, pool: ThreadPool, signal: AbortSignal) {
    this.#options = options;
    this.#pool = pool;
    this.#signal = signal;
  }

  async run(): Promise<CheckResult> {
    const { repository, level, snapshotIds, subset } = this.#options;
    this.#report('opening', 0, null);
    const snapshots = await this.#loadSnapshots();
    const onDamaged = (id: ObjectId, error: HoldfastError): void => this.#addUnreadable(indexName(id), error.message);
    const { index } = await loadIndex(repository, { signal: this.#signal, onDamaged });
    // After the index. A backup writes packs, index, snapshot, in this order, and our lock keeps all away that remove: read the other way
    // round, each of them has what the one before needs, whatever ends meanwhile.
    const packSizes = await listPackSizes(repository, this.#signal);
    const loader = createBlobLoader(repository, index);
    const isWholeRepository = snapshotIds === undefined;
    const readsPacks = level !== 'integrity';
    const walksFirst = level === 'integrity' || !isWholeRepository || (level === 'full' && subset !== undefined);
    // Where all packs are read anyway, the trees in them are read on the way and walked afterwards.
    let used = walksFirst ? await this.#checkTrees(snapshots, index, loader) : null;
    const wanted = isWholeRepository ? null : packsInUse(index, used);
    if (readsPacks) {
      await this.#checkKeys();
      const graph = level === 'full' && !walksFirst ? new TreeGraph() : null;
      await this.#checkPacks({ index, sizes: packSizes, wanted, graph });
      if (graph !== null) used = await this.#checkTrees(snapshots, index, loader, graph);
    }
    this.#comparePacks(index, packSizes, used, wanted);
    if (this.#findings.damageCount > 0) {
      await noteAffectedPaths(snapshots, { index, loader, findings: this.#findings, signal: this.#signal });
    }
    const { count, damageCount } = this.#findings;
    return { findings: this.#findings.toFindings(), findingCount: count, damageCount, ...this.#counts };
  }

  async #loadSnapshots(): Promise<Snapshot[]> {
    const { repository, snapshotIds } = this.#options;
    const snapshots: Snapshot[] = [];
    for (const id of snapshotIds ?? (await listSnapshotIds(repository, this.#signal))) {
      try {
        snapshots.push(await loadSnapshot(repository, id, { signal: this.#signal }));
      } catch (error) {
        if (isHoldfastError(error, 'snapshot_missing')) {
          // One that was listed and is gone by now has been forgotten; one that was asked for is missed.
          if (snapshotIds === undefined) continue;
          this.#findings.add({ kind: 'snapshot_missing', severity: 'damage', message: error.message, objectName: snapshotName(id) });
        } else if (isDamage(error)) {
          this.#addUnreadable(snapshotName(id), error.message);
        } else {
          throw error;
        }
      }
    }
    this.#counts.snapshotsChecked = snapshots.length;
    return snapshots;
  }

  async #checkTrees(snapshots: readonly Snapshot[], index: BlobIndex, loader: BlobLoader, graph?: TreeGraph): Promise<UsedBlobs> {
    const used = await markUsedBlobs(
      snapshots.map((snapshot) => snapshot.tree),
      {
        index,
        loader,
        ...(graph === undefined ? {} : { graph }),
        signal: this.#signal,
        onMissing: (blobType, blobId) => {
          const message = `${blobType} blob ${blobId} is needed and in no index`;
          this.#findings.add({ kind: 'blob_not_indexed', severity: 'damage', message, blobId, blobType });
        },
        onDamagedTree: (blobId, message) =>
          this.#findings.add({ kind: 'tree_damaged', severity: 'damage', message, blobId, blobType: 'tree', ...packOf(index, blobId) }),
        onTree: (treeCount) => this.#report('checking_trees', treeCount, null),
      },
    );
    this.#counts.treesChecked = used.treeCount;
    if (this.#options.level === 'integrity') this.#counts.blobsChecked = used.blobCount;
    return used;
  }

  /** The packs of the index against those in the storage. `wanted`: only these, else all. */
  #comparePacks(
    index: BlobIndex,
    sizes: ReadonlyMap<ObjectId, number>,
    used: UsedBlobs | null,
    wanted: ReadonlySet<ObjectId> | null,
  ): void {
    const indexed = new Set<ObjectId>();
    let duplicateCount = 0;
    for (const { packId, entries } of index.packs()) {
      indexed.add(packId);
      if (wanted !== null && !wanted.has(packId)) continue;
      const places = entries.map((entry) => index.placeOf(entry));
      for (const entry of entries) if (!index.isFirst(entry)) duplicateCount++;
      if (this.#options.level === 'integrity') this.#counts.packsChecked++;
      const isUsed = used === null || entries.some((entry) => used.marks[entry] === 1);
      const actual = sizes.get(packId);
      const expected = places.reduce((sum, { length }) => sum + length, 0) + packTailSize(places.map(plainLengths));
      const place = { severity: isUsed ? 'damage' : 'warning', objectName: packName(packId), packId } as const;
      if (actual === undefined) {
        // The reading of packs comes upon it too.
        if (this.#packsRead.has(packId)) continue;
        this.#findings.add({
          kind: 'pack_missing',
          message: `pack ${packId} is in the index and not in the storage`,
          hitsWholePack: true,
          ...place,
        });
      } else if (actual !== expected) {
        const message = `pack ${packId} has ${actual} bytes, by the index it should have ${expected}`;
        this.#findings.add({ kind: 'pack_size_wrong', message, hitsWholePack: true, ...place });
      }
    }
    if (wanted === null) this.#warnOfWaste(sizes, indexed, duplicateCount);
  }

  #warnOfWaste(sizes: ReadonlyMap<ObjectId, number>, indexed: ReadonlySet<ObjectId>, duplicateCount: number): void {
    for (const packId of sizes.keys()) {
      if (indexed.has(packId)) continue;
      const message = `pack ${packId} is in no index: of a backup that runs or was interrupted; prune removes it`;
      this.#findings.add({ kind: 'pack_not_indexed', severity: 'warning', message, objectName: packName(packId), packId });
    }
    if (duplicateCount === 0) return;
    const message = `${duplicateCount} blobs are stored more than once, of backups that ran at the same time; prune removes them`;
    this.#findings.add({ kind: 'blob_duplicated', severity: 'warning', message });
  }

  async #checkKeys(): Promise<void> {
    const { repository } = this.#options;
    for await (const { name } of repository.storage.list(keysPrefix, { signal: this.#signal })) {
      const id = idOfName(name);
      if (id === null) continue;
      try {
        await loadNamedFile(repository, name, id, this.#signal);
      } catch (error) {
        if (!isDamage(error)) throw error;
        this.#addUnreadable(name, error.message);
      }
    }
  }

  async #checkPacks({ index, sizes, wanted, graph }: PacksToRead): Promise<void> {
    const { repository, pool, subset, random = Math.random } = this.#options;
    const all = [...(wanted ?? new Set([...indexedIds(index), ...sizes.keys()]))];
    const packIds = subset === undefined ? all : choosePacks(all, sizes, subset, random);
    this.#packsRead = new Set(packIds);
    const bytesTotal = packIds.reduce((sum, packId) => sum + (sizes.get(packId) ?? 0), 0);
    const onChecked = ({ findings, bytesRead, blobsChecked, trees }: CheckedPack): void => {
      for (const finding of findings) this.#findings.add(finding);
      if (trees !== undefined) graph?.add(trees);
      this.#counts.packsChecked++;
      this.#counts.bytesRead += bytesRead;
      this.#counts.blobsChecked += blobsChecked;
      this.#report('checking_packs', this.#counts.packsChecked, packIds.length, bytesTotal);
    };
    await checkPacks(packsToCheck(index, packIds, graph !== null), {
      repository,
      signal: this.#signal,
      bytesTotal,
      onChecked,
      pool: this.#pool,
      isPoolKept: pool !== undefined,
    });
  }

  #addUnreadable(objectName: string, message: string): void {
    this.#findings.add({ kind: 'object_unreadable', severity: 'damage', message: `${objectName}: ${message}`, objectName });
  }

  #report(phase: EnginePhase, filesDone: number, filesTotal: number | null, bytesTotal: number | null = null): void {
    this.#options.onProgress?.({ phase, filesDone, filesTotal, bytesDone: this.#counts.bytesRead, bytesTotal });
  }
}

const plainLengths = ({ plainLength }: BlobPlace) => (plainLength === 0 ? {} : { uncompressedLength: plainLength });

interface PacksToRead {
  readonly index: BlobIndex;
  readonly sizes: ReadonlyMap<ObjectId, number>;
  /** Only these; null for all. */
  readonly wanted: ReadonlySet<ObjectId> | null;
  /** Takes what the trees in the packs point to; null when nobody asks. */
  readonly graph: TreeGraph | null;
}

function* indexedIds(index: BlobIndex): Generator<ObjectId> {
  for (const { packId } of index.packs()) yield packId;
}

/** Each with what the index has of it, made when it is asked for. */
function* packsToCheck(index: BlobIndex, packIds: readonly ObjectId[], readsTrees: boolean): Generator<PackToCheck> {
  const entriesOf = new Map([...index.packs()].map(({ packId, entries }) => [packId, entries]));
  for (const packId of packIds) {
    const entries = entriesOf.get(packId);
    entriesOf.delete(packId);
    yield { packId, indexed: entries === undefined ? PackedEntries.allocate(0) : index.pack(entries), readsTrees };
  }
}

function packsInUse(index: BlobIndex, used: UsedBlobs | null): Set<ObjectId> {
  const packIds = new Set<ObjectId>();
  for (const { packId, entries } of index.packs()) if (entries.some((entry) => used?.marks[entry] === 1)) packIds.add(packId);
  return packIds;
}

function packOf(index: BlobIndex, treeId: ObjectId): { packId?: ObjectId; objectName?: string } {
  const packId = index.lookup('tree', treeId)?.packId;
  return packId === undefined ? {} : { packId, objectName: packName(packId) };
}
