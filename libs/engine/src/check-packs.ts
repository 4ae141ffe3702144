import { packName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { createBlobUnpacker } from './blob-unpacker.ts';
import { checkPack, unreadablePack, type CheckedPack, type PackToCheck } from './check-pack.ts';
import type { CheckPackCall, CheckSessionData } from './check-thread.ts';
import { isDamage } from './damage.ts';
import { objectOfBytes } from './pack-object.ts';
import type { Repository } from './repository.ts';
import { createSegmentUnpacker } from './segment-unpacker.ts';
import { forEachConcurrently } from './slots.ts';
import { leastBusy, type ThreadGroup } from './threads/thread-group.ts';
import type { ThreadPool } from './threads/thread-pool.ts';

export interface CheckPacksOptions {
  readonly pool: ThreadPool;
  /** The pool is there anyway, and costs nothing to use. */
  readonly isPoolKept: boolean;
  readonly repository: Repository;
  readonly signal: AbortSignal;
  /** What is to be read in all: a little is done sooner than threads are up. */
  readonly bytesTotal: number;
  readonly onChecked: (pack: CheckedPack) => void;
}

/** What the threads run. */
export const checkModule = new URL('check-thread.ts', import.meta.url);

/** Less is checked in the calling thread. Two threads start in about the time that this takes. */
const minThreadedBytes = 16 * 1024 * 1024;
/** A thread finds its next pack waiting when it is done with one. */
const callsPerThread = 2;

/** Checks packs in all threads. A pack that is damaged or missing is a finding; what else the storage throws ends the check. */
export async function checkPacks(packs: Iterable<PackToCheck>, options: CheckPacksOptions): Promise<void> {
  const isSmall = options.bytesTotal < minThreadedBytes && !options.isPoolKept;
  if (isSmall) await checkPacksHere(packs, options);
  else await checkPacksInThreads(packs, options);
}

async function checkPacksInThreads(packs: Iterable<PackToCheck>, options: CheckPacksOptions): Promise<void> {
  const { repository, pool, signal, onChecked } = options;
  const data: CheckSessionData = { masterKeys: repository.masterKeys, storage: repository.storage.threadOptions ?? null };
  await using group = pool.openGroup({ module: checkModule, data, signal });
  await forEachConcurrently(packs, group.threadCount * callsPerThread, async (pack) => {
    onChecked(await checkInThread(group, pack, repository, signal));
  });
  signal.throwIfAborted();
}

async function checkInThread(group: ThreadGroup, pack: PackToCheck, repository: Repository, signal: AbortSignal): Promise<CheckedPack> {
  const { packId, indexed, readsTrees } = pack;
  const call: CheckPackCall = { packId, indexed: indexed.bytes, readsTrees };
  const transfer = [indexed.bytes.buffer];
  let brought: Pick<CheckPackCall, 'bytes'> = {};
  if (repository.storage.threadOptions === undefined) {
    const bytes = await loadPack(repository, packId, signal);
    if (typeof bytes === 'string') return unreadablePack(pack, bytes);
    brought = { bytes };
    transfer.push(bytes.buffer);
  }
  const answer = await group.call(leastBusy(group), { ...call, ...brought }, transfer);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- check-thread.ts answers
  return answer as CheckedPack;
}

async function checkPacksHere(packs: Iterable<PackToCheck>, { repository, signal, onChecked }: CheckPacksOptions): Promise<void> {
  const { masterKeys } = repository;
  const [segments, unpacker] = [createSegmentUnpacker(masterKeys), createBlobUnpacker(masterKeys)];
  const tools = { segments, unpacker, cipher: repository.cipher, throwIfAborted: () => {} };
  for (const pack of packs) {
    const bytes = await loadPack(repository, pack.packId, signal);
    onChecked(typeof bytes === 'string' ? unreadablePack(pack, bytes) : checkPack(pack, objectOfBytes(bytes), tools));
    // Lets an abort through.
    await new Promise(setImmediate);
    signal.throwIfAborted();
  }
}

/** The whole pack, in memory of its own, or why there is none. */
async function loadPack(repository: Repository, packId: ObjectId, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | string> {
  try {
    const bytes = await repository.storage.get(packName(packId), { signal });
    const { buffer, byteLength } = bytes;
    return buffer instanceof ArrayBuffer && byteLength === buffer.byteLength ? new Uint8Array(buffer) : new Uint8Array(bytes);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return error.message;
  }
}
