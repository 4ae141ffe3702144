import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { encodeIndexFile, splitIndex } from '@holdfast/restic-format/index-file';
import { indexName, packName } from '@holdfast/restic-format/layout';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader } from './blob-loader.ts';
import { systemClock, type Clock } from './clock.ts';
import { loadIndex } from './load-index.ts';
import { saveNamedFile } from './named-file.ts';
import { createPacker } from './packer.ts';
import { listPackSizes } from './pack-list.ts';
import { planPrune, type PrunePlan } from './prune-plan.ts';
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
}

/**
 * Removes what no snapshot needs. New packs, then a new index, then the old index goes, then the old packs: a crash anywhere is
 * harmless and the next prune goes on. Nothing is deleted when a snapshot cannot be followed to its last blob.
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
  const plan = planPrune({ index, indexFiles, marks, packSizes, maxUnused, maxRepackBytes });
  const bytesWritten = dryRun ? plan.bytesRepackedKept : await carryOut(plan, { repository, index, clock, signal, onProgress });
  return {
    dryRun,
    packsKept: plan.keptCount,
    packsRepacked: plan.repacked.length,
    packsDeleted: plan.deleted.length,
    blobsRemoved: plan.blobsRemoved,
    bytesBefore: plan.bytesBefore,
    bytesAfter: plan.bytesBefore - plan.bytesDeleted + bytesWritten,
    bytesFreed: plan.bytesDeleted - bytesWritten,
    bytesUnusedKept: plan.bytesUnusedKept,
    indexFilesDeleted: plan.replacedIndexFiles.length,
  };
}

interface CarryOutOptions {
  readonly repository: Repository;
  readonly index: BlobIndex;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

/** The order is what makes a crash harmless: whatever is left behind, each blob in use is in a pack that an index file names. */
async function carryOut(plan: PrunePlan, { repository, index, clock, signal, onProgress }: CarryOutOptions): Promise<number> {
  const { storage } = repository;
  const reindexed = new Set(plan.reindexedPacks);
  const packs = [...index.packs()].filter(({ packId }) => reindexed.has(packId));
  const bytesWritten = await repack(plan, { repository, index, clock, signal, onProgress });
  const indexedPacks = packs.map(({ packId, entries }) => ({ id: packId, blobs: entries.map((entry) => index.at(entry)) }));
  for (const group of splitIndex(indexedPacks)) {
    await saveNamedFile(repository, indexName, encodeIndexFile({ packs: group }, repository.cipher), signal);
  }
  for (const id of plan.replacedIndexFiles) await storage.delete(indexName(id), { signal });
  const deleted = [...plan.deleted, ...plan.repacked.map((pack) => pack.packId)];
  for (const [done, packId] of deleted.entries()) {
    await storage.delete(packName(packId), { signal });
    onProgress({ phase: 'deleting', filesDone: done + 1, filesTotal: deleted.length, bytesDone: 0, bytesTotal: null });
  }
  return bytesWritten;
}

/** Moves the blobs that stay to new packs, sealed as they are; each is opened and hashed on the way. Returns the bytes of the new packs. */
async function repack(plan: PrunePlan, { repository, index, clock, signal, onProgress }: CarryOutOptions): Promise<number> {
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
