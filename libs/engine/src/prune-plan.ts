import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { packTailSize } from '@holdfast/restic-format/pack';
import type { BlobIndex } from './blob-index.ts';
import type { LoadedIndexFile } from './load-index.ts';

/** What a prune does with each pack, decided before anything is changed. */
export interface PrunePlan {
  readonly keptCount: number;
  /** Those of the kept packs that snapshots need. */
  readonly keptInUse: readonly ObjectId[];
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
  /** What goes. */
  readonly unusedBytes: number;
}

export interface PrunePlanInput {
  readonly index: BlobIndex;
  readonly indexFiles: readonly LoadedIndexFile[];
  /** 1 for each entry in use. */
  readonly marks: Uint8Array;
  /** What the storage holds. */
  readonly packSizes: ReadonlyMap<ObjectId, number>;
  /** What may stay unused: a share of what is left when done, or bytes. */
  readonly maxUnused: { readonly percent: number } | { readonly bytes: number };
  readonly maxRepackBytes: number;
  /** What may not go yet. A held pack stays in the index, and a held index file keeps every pack that it names. */
  readonly held?: HeldNames;
}

export interface HeldNames {
  readonly packs: ReadonlySet<ObjectId>;
  readonly indexFiles: ReadonlySet<ObjectId>;
}

interface PackUse {
  readonly packId: ObjectId;
  readonly holdsTrees: boolean;
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

const nothingHeld: HeldNames = { packs: new Set(), indexFiles: new Set() };

/** Errors: repository_damaged when a pack that is needed is missing or has the wrong size. */
export function planPrune(input: PrunePlanInput): PrunePlan {
  const packs = [...input.index.packs()].map(({ packId, entries }) => measurePack(input, packId, entries));
  const indexed = new Set(packs.map((pack) => pack.packId));
  const { packs: heldPacks, indexFiles: heldFiles } = input.held ?? nothingHeld;
  const staying = new Set([...heldPacks, ...input.indexFiles.filter(({ id }) => heldFiles.has(id)).flatMap(({ packIds }) => packIds)]);
  const mayGo = (packId: ObjectId): boolean => !staying.has(packId);
  const unindexed = [...input.packSizes.keys()].filter((packId) => !indexed.has(packId) && mayGo(packId));
  const unused = packs.filter((pack) => pack.usedEntries.length === 0 && mayGo(pack.packId));
  const inUse = packs.filter((pack) => pack.usedEntries.length > 0);
  for (const pack of inUse) assertWhole(pack, input.packSizes);

  const repacked = choosePacksToRepack(inUse, input).filter(({ packId }) => mayGo(packId));
  const gone = new Set([...unused, ...repacked].map((pack) => pack.packId));
  const kept = packs.filter((pack) => !gone.has(pack.packId));
  const deleted = [...unused.map((pack) => pack.packId).filter((packId) => input.packSizes.has(packId)), ...unindexed];
  const replaced = chooseIndexFiles(
    input.indexFiles.filter(({ id }) => !heldFiles.has(id)),
    gone,
  );
  return {
    keptCount: kept.length,
    keptInUse: kept.filter((pack) => pack.usedEntries.length > 0).map((pack) => pack.packId),
    repacked: repacked.map(({ packId, usedEntries, unusedBytes }) => ({ packId, usedEntries, unusedBytes })),
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
    holdsTrees: blobs.some(({ type }) => type === 'tree'),
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

/**
 * What is unused of a pack is what repacking it frees, what is used is what that costs: those first that free most for it, trees before
 * data since every run reads them, until what is left unused is little enough or no more may be moved. Then small packs that are
 * wholly used, when there are enough of them to make one: a pack costs a request and an entry however small it is.
 */
function choosePacksToRepack(inUse: readonly PackUse[], { maxUnused, maxRepackBytes }: PrunePlanInput): PackUse[] {
  const mayStayBytes = 'bytes' in maxUnused ? maxUnused.bytes : shareOfRest(inUse, maxUnused.percent);
  let unusedBytes = sum(inUse, (pack) => pack.unusedBytes);
  let repackedBytes = 0;
  const repacked: PackUse[] = [];
  const takeIfItFits = (pack: PackUse): void => {
    if (repackedBytes + pack.sizeBytes > maxRepackBytes) return;
    repacked.push(pack);
    repackedBytes += pack.sizeBytes;
    unusedBytes -= pack.unusedBytes;
  };
  for (const pack of inUse.filter(({ unusedBytes: own }) => own > 0).toSorted(byWorth)) {
    if (unusedBytes > mayStayBytes) takeIfItFits(pack);
  }
  // Who lets everything stay wants nothing moved.
  if (mayStayBytes === Infinity) return repacked;
  for (const holdsTrees of [true, false]) {
    const small = inUse.filter((pack) => pack.holdsTrees === holdsTrees && pack.unusedBytes === 0 && pack.sizeBytes < smallPackBytes);
    if (small.length >= minSmallPacks) small.forEach(takeIfItFits);
  }
  return repacked;
}

/** Below this a pack is small: a quarter of what a full one has. */
const smallPackBytes = 4 * 1024 * 1024;
/** Fewer are not worth it, and a run must not move the rest of the run before again. */
const minSmallPacks = 10;

function byWorth(a: PackUse, b: PackUse): number {
  if (a.holdsTrees !== b.holdsTrees) return a.holdsTrees ? -1 : 1;
  // unused/used of each, without a division by nothing.
  return b.unusedBytes * a.usedBytes - a.unusedBytes * b.usedBytes;
}

/** What is left holds the used bytes and the unused ones that stay. */
function shareOfRest(inUse: readonly PackUse[], percent: number): number {
  const usedBytes = sum(inUse, (pack) => pack.usedBytes);
  return percent >= 100 ? Infinity : (usedBytes * percent) / (100 - percent);
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
