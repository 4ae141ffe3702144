import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { encodeIndexFile, splitIndex } from '@holdfast/restic-format/index-file';
import { configName, indexName, indexPrefix, keysPrefix, packName, snapshotName, snapshotsPrefix } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { ObjectHold } from '@holdfast/storage/hold';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader } from './blob-loader.ts';
import { systemClock, type Clock } from './clock.ts';
import { deleteUnlessHeld, findHolds, HeldTally, laterHold, renewHolds, type HeldObjects } from './held-objects.ts';
import { loadIndex } from './load-index.ts';
import { saveNamedFile } from './named-file.ts';
import { createPacker } from './packer.ts';
import { listPackSizes } from './pack-list.ts';
import { planPrune, type PrunePlan, type PrunePlanInput } from './prune-plan.ts';
import { openBlob } from './sealed-blob.ts';
import { listSnapshots } from './snapshots.ts';
import { markUsedBlobs } from './used-blobs.ts';
import { withLock, type Lock, type LockOptions } from './lock.ts';
import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';

export interface PruneOptions extends LockOptions {
  readonly repository: Repository;
  /** How much of the repository may stay unused rather than be repacked; default 5, as restic. 0 repacks everything, 100 nothing. */
  readonly maxUnusedPercent?: number;
  /** The same in bytes, instead. */
  readonly maxUnusedBytes?: number;
  /** Packs of no more than so many bytes are repacked in this run, those first that free most for what they cost. Default: no limit. */
  readonly maxRepackBytes?: number;
  /** Snapshots that are about to go and may not yet: their time is not made longer. */
  readonly expiredIds?: readonly ObjectId[];
  /** Only says what would be done. */
  readonly dryRun?: boolean;
  /** An exclusive lock that the caller holds already (to forget and prune in one go); by default one is taken for the call. */
  readonly lock?: Lock;
  readonly onProgress?: OnProgress;
}

export interface PruneResult {
  readonly dryRun: boolean;
  readonly packsKept: number;
  readonly packsRepacked: number;
  /** Without one used blob, or in no index. */
  readonly packsDeleted: number;
  readonly blobsRemoved: number;
  /** Pack bytes before and after; `bytesFreed` is their difference. A dry run estimates. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly bytesFreed: number;
  readonly bytesUnusedKept: number;
  readonly indexFilesDeleted: number;
  /** Objects in use that were held anew, where the storage's options have them so; zero elsewhere, and in a dry run. */
  readonly holdsRenewed: number;
  /** What would have gone and may not yet. Absent when there is nothing. */
  readonly held?: HeldObjects;
}

/**
 * Removes what no snapshot needs. New packs, then a new index, then the old index goes, then the old packs: a crash anywhere is
 * harmless and the next prune goes on. Nothing is deleted when a snapshot cannot be followed to its last blob. What a lock or a time of
 * retention holds stays as it is, in the index, and is told of.
 * Errors: repository_locked, repository_damaged, those of the storage.
 */
export async function prune(options: PruneOptions): Promise<PruneResult> {
  return await withLock({ ...options, exclusive: options.dryRun !== true }, (signal) => pruneLocked(options, signal));
}

/** restic's default: the next few percent of space cost more reading and writing than they are worth. */
const defaultMaxUnusedPercent = 5;

async function pruneLocked(options: PruneOptions, signal: AbortSignal): Promise<PruneResult> {
  const { repository, dryRun = false, maxUnusedPercent = defaultMaxUnusedPercent, clock = systemClock, onProgress = () => {} } = options;
  const snapshots = await listSnapshots(repository, { signal });
  const packSizes = await listPackSizes(repository, signal);
  const { index, files: indexFiles } = await loadIndex(repository, { signal });
  const { marks } = await markUsedBlobs(
    snapshots.map((snapshot) => snapshot.tree),
    {
      index,
      loader: createBlobLoader(repository, index),
      signal,
      onMissing: (type, id) => {
        throw new HoldfastError('repository_damaged', `nothing is removed: ${type} blob ${id} is needed and in no index`);
      },
      onDamagedTree: (id, reason) => {
        throw new HoldfastError('repository_damaged', `nothing is removed: tree ${id} cannot be read: ${reason}`);
      },
      onTree: (treeCount) => onProgress({ phase: 'marking', filesDone: treeCount, filesTotal: null, bytesDone: 0, bytesTotal: null }),
    },
  );
  const { maxUnusedBytes, maxRepackBytes = Infinity } = options;
  const maxUnused = maxUnusedBytes === undefined ? { percent: maxUnusedPercent } : { bytes: maxUnusedBytes };
  const input = { index, indexFiles, marks, packSizes, maxUnused, maxRepackBytes };
  const held = new HeldTally();
  const { plan, waiting } = await planAroundHeld(repository, input, held, signal);
  const done = dryRun
    ? {
        bytesWritten: plan.bytesRepackedKept,
        bytesDeleted: plan.bytesDeleted,
        indexFilesDeleted: plan.replacedIndexFiles.length,
        packsDeleted: plan.deleted.length,
      }
    : await carryOut(plan, { ...input, repository, held, clock, signal, onProgress });
  const heldObjects = held.summary();
  const holdsRenewed = dryRun ? 0 : await renewHolds(repository.storage, () => namesInUse(options, plan, waiting, signal), signal);
  return {
    dryRun,
    packsKept: plan.keptCount,
    packsRepacked: plan.repacked.length,
    packsDeleted: done.packsDeleted,
    blobsRemoved: plan.blobsRemoved,
    bytesBefore: plan.bytesBefore,
    bytesAfter: plan.bytesBefore - done.bytesDeleted + done.bytesWritten,
    bytesFreed: done.bytesDeleted - done.bytesWritten,
    bytesUnusedKept: plan.bytesUnusedKept,
    indexFilesDeleted: done.indexFilesDeleted,
    holdsRenewed,
    ...(heldObjects === undefined ? {} : { held: heldObjects }),
  };
}

/**
 * The plan without what is held, which is asked for before anything is changed: a pack that is taken out of the index and cannot be deleted
 * would take room and be of no use, and a held index file must not name a pack that is gone.
 */
async function planAroundHeld(
  { storage }: Repository,
  input: PrunePlanInput,
  held: HeldTally,
  signal: AbortSignal,
): Promise<{ readonly plan: PrunePlan; readonly waiting: ReadonlySet<string> }> {
  const wished = planPrune(input);
  const goingPacks = [...wished.deleted, ...wished.repacked.map(({ packId }) => packId)];
  const holds = await findHolds(storage, [...wished.replacedIndexFiles.map(indexName), ...goingPacks.map(packName)], signal);
  if (holds.size === 0) return { plan: wished, waiting: new Set() };

  const heldFiles = input.indexFiles.filter(({ id }) => holds.has(indexName(id)));
  const holdOfPack = new Map<ObjectId, ObjectHold>();
  const addHold = (packId: ObjectId, hold: ObjectHold | undefined): void => {
    if (hold !== undefined) holdOfPack.set(packId, laterHold(holdOfPack.get(packId), hold));
  };
  for (const packId of goingPacks) addHold(packId, holds.get(packName(packId)));
  const going = new Set(goingPacks);
  for (const { id, packIds } of heldFiles) {
    const hold = holds.get(indexName(id));
    const named = packIds.filter((packId) => going.has(packId));
    for (const packId of named) addHold(packId, hold);
    // One that would only have become one with other small ones keeps nothing.
    if (hold !== undefined && named.length > 0) held.add(indexName(id), 'indexFile', 0, hold);
  }
  const unusedOf = new Map(wished.repacked.map(({ packId, unusedBytes }) => [packId, unusedBytes]));
  for (const [packId, hold] of holdOfPack) {
    held.add(packName(packId), 'pack', unusedOf.get(packId) ?? input.packSizes.get(packId) ?? 0, hold);
  }
  const plan = planPrune({ ...input, held: { packs: new Set(holdOfPack.keys()), indexFiles: new Set(heldFiles.map(({ id }) => id)) } });
  return { plan, waiting: new Set([...holds.keys(), ...[...holdOfPack.keys()].map(packName)]) };
}

/**
 * What the snapshots that stay need, of what was there before this run: new packs have all their time. What waits to be written anew is left
 * out, or its time would never end: a pack that is of use in part, an index file that is to be one with others.
 */
async function namesInUse(
  { repository, expiredIds = [] }: PruneOptions,
  plan: PrunePlan,
  waiting: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const names = [configName, ...plan.keptInUse.map(packName)];
  for (const prefix of [keysPrefix, snapshotsPrefix, indexPrefix]) {
    for await (const { name } of repository.storage.list(prefix, { signal })) names.push(name);
  }
  const going = new Set(expiredIds.map(snapshotName));
  return names.filter((name) => !going.has(name) && !waiting.has(name));
}

interface CarryOutOptions extends Pick<PrunePlanInput, 'indexFiles' | 'packSizes'> {
  readonly repository: Repository;
  readonly index: BlobIndex;
  readonly held: HeldTally;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

/** The order is what makes a crash harmless: whatever is left behind, each blob in use is in a pack that an index file names. */
async function carryOut(plan: PrunePlan, options: CarryOutOptions): Promise<CarriedOut> {
  const { repository, index, indexFiles, packSizes, held, clock, signal, onProgress } = options;
  const { storage } = repository;
  const reindexed = new Set(plan.reindexedPacks);
  const packs = [...index.packs()].filter(({ packId }) => reindexed.has(packId));
  const bytesWritten = await repack(plan, { repository, index, clock, signal, onProgress });
  const indexedPacks = packs.map(({ packId, entries }) => ({ id: packId, blobs: entries.map((entry) => index.at(entry)) }));
  for (const group of splitIndex(indexedPacks)) {
    await saveNamedFile(repository, indexName, encodeIndexFile({ packs: group }, repository.cipher), signal);
  }
  // A storage may hold what it did not tell of. What an index file that stays names has to stay as well.
  const pinned = new Map<ObjectId, ObjectHold>();
  let indexFilesDeleted = 0;
  for (const id of plan.replacedIndexFiles) {
    const hold = await deleteUnlessHeld(storage, indexName(id), { signal });
    if (hold === undefined) {
      indexFilesDeleted += 1;
      continue;
    }
    held.add(indexName(id), 'indexFile', 0, hold);
    const file = indexFiles.find((other) => other.id === id);
    for (const packId of file?.packIds ?? []) pinned.set(packId, laterHold(pinned.get(packId), hold));
  }
  const going = [...plan.deleted, ...plan.repacked.map((pack) => pack.packId)];
  const wholly = new Set(plan.deleted);
  const counts = { packsDeleted: 0, bytesDeleted: 0 };
  for (const [done, packId] of going.entries()) {
    const hold = pinned.get(packId) ?? (await deleteUnlessHeld(storage, packName(packId), { signal }));
    const sizeBytes = packSizes.get(packId) ?? 0;
    if (hold === undefined) {
      counts.packsDeleted += wholly.has(packId) ? 1 : 0;
      counts.bytesDeleted += sizeBytes;
    } else held.add(packName(packId), 'pack', sizeBytes, hold);
    onProgress({ phase: 'deleting', filesDone: done + 1, filesTotal: going.length, bytesDone: 0, bytesTotal: null });
  }
  return { bytesWritten, indexFilesDeleted, ...counts };
}

interface CarriedOut {
  readonly bytesWritten: number;
  readonly bytesDeleted: number;
  readonly packsDeleted: number;
  readonly indexFilesDeleted: number;
}

type RepackOptions = Omit<CarryOutOptions, 'held' | 'indexFiles' | 'packSizes'>;

/** Moves the blobs that stay to new packs, sealed as they are; each is opened and hashed on the way. Returns the bytes of the new packs. */
async function repack(plan: PrunePlan, { repository, index, clock, signal, onProgress }: RepackOptions): Promise<number> {
  const sink = createPacker({ repository, index, compression: 'auto', clock, signal });
  try {
    for (const [done, { packId, usedEntries }] of plan.repacked.entries()) {
      const blobs = usedEntries.map((entry) => index.at(entry)).toSorted((a, b) => a.offset - b.offset);
      const start = blobs[0]?.offset ?? 0;
      const last = blobs.at(-1);
      const end = last === undefined ? start : last.offset + last.length;
      const bytes = await repository.storage.get(packName(packId), { range: { offsetBytes: start, lengthBytes: end - start }, signal });
      for (const blob of blobs) {
        // A copy: a piece of the read would hold all of it in memory until the new pack is uploaded.
        const sealed = bytes.slice(blob.offset - start, blob.offset - start + blob.length);
        openBlob(repository.cipher, sealed, blob);
        await sink.saveSealed(blob.type, { ...blob, bytes: sealed });
      }
      onProgress({ phase: 'repacking', filesDone: done + 1, filesTotal: plan.repacked.length, bytesDone: 0, bytesTotal: null });
    }
    await sink.finish();
    return sink.counts.packBytes;
  } finally {
    await sink.settle();
  }
}
