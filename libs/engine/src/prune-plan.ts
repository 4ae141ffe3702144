import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { packTailSize } from '@holdfast/restic-format/pack';
import type { BlobIndex } from './blob-index.ts';
import type { LoadedIndexFile } from './load-index.ts';

/** What a prune does with each pack, decided before anything is changed. */
export interface PrunePlan {
  readonly keptCount: number;
  readonly repacked: readonly RepackedPack[];
  /** In the storage, without one used blob, or in no index. */
  readonly deleted: readonly ObjectId[];
  /** Index files to be replaced, and the packs that the new ones must name again. */
  readonly replacedIndexFiles: readonly ObjectId[];
  readonly reindexedPacks: readonly ObjectId[];
  readonly blobsRemoved: number;
  readonly bytesBefore: number;
  readonly bytesDeleted: number;
  readonly bytesRepackedKept: number;
  readonly bytesUnusedKept: number;
}

export interface RepackedPack {
  readonly packId: ObjectId;
  /** The index entries of the blobs that stay. */
  readonly usedEntries: readonly number[];
}

export interface PrunePlanInput {
  readonly index: BlobIndex;
  readonly indexFiles: readonly LoadedIndexFile[];
  /** 1 for each entry in use. */
  readonly marks: Uint8Array;
  /** What the storage holds. */
  readonly packSizes: ReadonlyMap<ObjectId, number>;
  readonly maxUnusedPercent: number;
}

interface PackUse {
  readonly packId: ObjectId;
  readonly sizeBytes: number;
  /** By the index. */
  readonly expectedBytes: number;
  readonly usedEntries: readonly number[];
  readonly usedBytes: number;
  readonly unusedBytes: number;
  readonly unusedCount: number;
}

/** An index file with fewer blobs is small: several of them become one. */
const smallIndexBlobs = 10_000;

/** Errors: repository_damaged when a pack that is needed is missing or has the wrong size. */
export function planPrune(input: PrunePlanInput): PrunePlan {
  const packs = [...input.index.packs()].map(({ packId, entries }) => measurePack(input, packId, entries));
  const indexed = new Set(packs.map((pack) => pack.packId));
  const unindexed = [...input.packSizes.keys()].filter((packId) => !indexed.has(packId));
  const unused = packs.filter((pack) => pack.usedEntries.length === 0);
  const inUse = packs.filter((pack) => pack.usedEntries.length > 0);
  for (const pack of inUse) assertWhole(pack, input.packSizes);

  const repacked = choosePacksToRepack(inUse, input.maxUnusedPercent);
  const gone = new Set([...unused, ...repacked].map((pack) => pack.packId));
  const kept = inUse.filter((pack) => !gone.has(pack.packId));
  const deleted = [...unused.map((pack) => pack.packId).filter((packId) => input.packSizes.has(packId)), ...unindexed];
  const replaced = chooseIndexFiles(input.indexFiles, gone);
  return {
    keptCount: kept.length,
    repacked: repacked.map(({ packId, usedEntries }) => ({ packId, usedEntries })),
    deleted,
    replacedIndexFiles: replaced.map((file) => file.id),
    reindexedPacks: [...new Set(replaced.flatMap((file) => file.packIds))].filter((packId) => !gone.has(packId)),
    blobsRemoved: sum([...unused, ...repacked], (pack) => pack.unusedCount),
    bytesBefore: sum([...input.packSizes.values()], (size) => size),
    bytesDeleted: sum([...deleted, ...repacked.map((pack) => pack.packId)], (packId) => input.packSizes.get(packId) ?? 0),
    bytesRepackedKept: sum(repacked, (pack) => pack.usedBytes),
    bytesUnusedKept: sum(kept, (pack) => pack.unusedBytes),
  };
}

function measurePack({ index, marks, packSizes }: PrunePlanInput, packId: ObjectId, entries: readonly number[]): PackUse {
  const blobs = entries.map((entry) => index.at(entry));
  const blobBytes = sum(blobs, (blob) => blob.length);
  const usedEntries = entries.filter((entry) => marks[entry] === 1);
  const usedBytes = sum(usedEntries, (entry) => index.at(entry).length);
  return {
    packId,
    sizeBytes: packSizes.get(packId) ?? 0,
    expectedBytes: blobBytes + packTailSize(blobs),
    usedEntries,
    usedBytes,
    unusedBytes: blobBytes - usedBytes,
    unusedCount: entries.length - usedEntries.length,
  };
}

function assertWhole({ packId, sizeBytes, expectedBytes }: PackUse, packSizes: ReadonlyMap<ObjectId, number>): void {
  if (!packSizes.has(packId)) throw new HoldfastError('repository_damaged', `pack ${packId} is needed and not in the storage`);
  if (sizeBytes === expectedBytes) return;
  throw new HoldfastError('repository_damaged', `pack ${packId} has ${sizeBytes} bytes, by the index it should have ${expectedBytes}`);
}

/** Those with the largest share of waste, until what is left of it is small enough. */
function choosePacksToRepack(inUse: readonly PackUse[], maxUnusedPercent: number): PackUse[] {
  const usedBytes = sum(inUse, (pack) => pack.usedBytes);
  // As a share of what is left when done, which holds the used bytes and the unused ones that stay.
  const mayStayBytes = maxUnusedPercent >= 100 ? Infinity : (usedBytes * maxUnusedPercent) / (100 - maxUnusedPercent);
  let unusedBytes = sum(inUse, (pack) => pack.unusedBytes);
  const repacked: PackUse[] = [];
  const wasteful = inUse.filter((pack) => pack.unusedBytes > 0);
  for (const pack of wasteful.toSorted((a, b) => b.unusedBytes / b.sizeBytes - a.unusedBytes / a.sizeBytes)) {
    if (unusedBytes <= mayStayBytes) break;
    repacked.push(pack);
    unusedBytes -= pack.unusedBytes;
  }
  return repacked;
}

/** Those that name a pack that goes, and the small ones when there are several. */
function chooseIndexFiles(files: readonly LoadedIndexFile[], gone: ReadonlySet<ObjectId>): LoadedIndexFile[] {
  const small = files.filter((file) => file.blobCount < smallIndexBlobs);
  const merged = new Set(small.length > 1 ? small : []);
  return files.filter((file) => merged.has(file) || file.packIds.some((packId) => gone.has(packId)));
}

function sum<T>(items: readonly T[], amount: (item: T) => number): number {
  return items.reduce((total, item) => total + amount(item), 0);
}
