import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { packName } from '@holdfast/restic-format/layout';
import type { ThreadTargetOptions } from '@holdfast/sources/target';
import type { TargetWriter } from '@holdfast/sources/target-writer';
import type { GetOptions } from '@holdfast/storage/storage';
import { openObject } from '@holdfast/storage/thread-storage';
import { isDamage } from './damage.ts';
import { LargestFirst } from './largest-first.ts';
import { objectOfBytes } from './pack-object.ts';
import { PartBuffers } from './part-buffers.ts';
import type { Repository } from './repository.ts';
import { restorePack, segmentOf, type PackToRestore, type RestoredPack } from './restore-pack.ts';
import type { RestorePackCall, RestoreSessionData } from './restore-thread.ts';
import { BlobUseWriter, readBlobUses } from './restore-uses.ts';
import { createStretchUnpacker } from './stretch-unpacker.ts';
import { Slots } from './slots.ts';
import { joinPath } from './source-node.ts';
import { leastBusy } from './threads/thread-group.ts';
import type { ThreadPool } from './threads/thread-pool.ts';

/** Restores packs, several at once. */
export interface PackRestorer extends AsyncDisposable {
  /** Rejects for what is no damage; the others go on until the restorer is closed. */
  restore(pack: PackToRestore): Promise<RestoredPack>;
  /** Waits for what was begun, or ends it after an abort: nothing writes any more when it returns. */
  close(): Promise<void>;
}

/** What the threads run. */
export const restoreModule = new URL('restore-thread.ts', import.meta.url);

/** A thread finds its next pack waiting when it is done with one. */
const callsPerThread = 2;
/** What is brought to a thread in one go. A single blob may be longer. */
const maxBroughtBytes = 8 * 1024 * 1024;
/**
 * Of one restore, from the moment when a part is asked for until it is unpacked: enough to keep a line busy on which an answer takes its
 * time. The storage itself may allow fewer.
 */
const maxFetches = 8;
/** A blob of 8 MiB, the longest that data is cut into, with what sealing adds to it. */
const partBufferBytes = maxBroughtBytes + 64 * 1024;

export interface RestorerOptions {
  readonly pool: ThreadPool;
  readonly repository: Repository;
  readonly target: ThreadTargetOptions;
  readonly signal: AbortSignal;
}

/** In all threads of a pool. */
export function openThreadedRestorer({ repository, pool, target, signal }: RestorerOptions): PackRestorer {
  const storage = repository.storage.threadOptions ?? null;
  const data: RestoreSessionData = { masterKeys: repository.masterKeys, storage, target };
  const group = pool.openGroup({ module: restoreModule, data, signal });
  const places = new LargestFirst(group.threadCount * callsPerThread);
  const fetches = new LargestFirst(maxFetches);
  const buffers = new PartBuffers(partBufferBytes);
  let isClosed = false;
  const call = async (input: RestorePackCall): Promise<RestoredPack> => {
    if (isClosed) throw givenUp();
    const answer = await group.call(leastBusy(group), input, [input.uses.buffer]);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- restore-thread.ts answers
    return answer as RestoredPack;
  };
  /** A slow storage is asked for the next part while a thread has this one. */
  const bring = async (part: PackPart): Promise<RestoredPack> =>
    fetches.run(part.pack.workBytes, async () => {
      const into = buffers.take(part.end - part.start);
      const bytes = await loadRange(repository, part, { into, signal });
      try {
        if (typeof bytes === 'string') return failedPart(part.pack, bytes);
        // Of a storage that reads into its own memory.
        if (bytes !== into) into.set(bytes);
        return await call({ ...part.pack, brought: { bytes: into, startBytes: part.start } });
      } finally {
        buffers.giveBack(into);
      }
    });
  const restore = async (pack: PackToRestore): Promise<RestoredPack> => {
    if (storage !== null || pack.packId === null) return await places.run(pack.workBytes, () => call(pack));
    return sumOf(await Promise.all(splitPack(pack).map(bring)));
  };
  const close = async (): Promise<void> => {
    isClosed = true;
    await group.close();
  };
  return { restore, close, [Symbol.asyncDispose]: close };
}

/** In the calling thread, one after the other: for a little, which is done sooner than threads are up. */
export function openInlineRestorer({ repository, signal }: RestorerOptions, writer: TargetWriter): PackRestorer {
  const storage = repository.storage.threadOptions;
  const tools = { unpacker: createStretchUnpacker(repository.masterKeys), writer, throwIfAborted: () => {} };
  const slots = new Slots(1);
  let isClosed = false;
  const restoreNow = async (pack: PackToRestore): Promise<RestoredPack> => {
    // Lets an abort through.
    await new Promise(setImmediate);
    signal.throwIfAborted();
    if (isClosed) throw givenUp();
    const { packId } = pack;
    if (packId === null || storage !== undefined) {
      return restorePack(
        pack,
        () => (packId === null || storage === undefined ? objectOfBytes(new Uint8Array(0)) : openObject(storage, packName(packId))),
        tools,
      );
    }
    const results: RestoredPack[] = [];
    for (const part of splitPack(pack)) {
      const bytes = await loadRange(repository, part, { signal });
      results.push(
        typeof bytes === 'string' ? failedPart(part.pack, bytes) : restorePack(part.pack, () => objectOfBytes(bytes, part.start), tools),
      );
    }
    return sumOf(results);
  };
  const close = async (): Promise<void> => {
    isClosed = true;
    await slots.run(async () => {});
  };
  return { restore: (pack) => slots.run(() => restoreNow(pack)), close, [Symbol.asyncDispose]: close };
}

/** For what was begun and never came to its turn: why is known already. */
const givenUp = (): HoldfastError => new HoldfastError('internal', 'the recovery was given up');

interface PackPart {
  readonly pack: PackToRestore & { readonly packId: string };
  readonly start: number;
  readonly end: number;
}

/** The parts of a pack that are read in one go each, with their uses. */
function splitPack(pack: PackToRestore): PackPart[] {
  const uses = readBlobUses(pack.uses);
  const parts: PackPart[] = [];
  for (let at = 0; at < uses.length;) {
    const { end, behind } = segmentOf(uses, at, maxBroughtBytes);
    const writer = new BlobUseWriter();
    for (const use of uses.slice(at, behind)) writer.add(use);
    const part = { packId: pack.packId ?? '', folders: pack.folders, uses: writer.take(), workBytes: end - (uses[at]?.offset ?? 0) };
    parts.push({ pack: part, start: uses[at]?.offset ?? 0, end });
    at = behind;
  }
  return parts;
}

/** The bytes, or why they are not to be had. */
async function loadRange(
  repository: Repository,
  { pack, start, end }: PackPart,
  options: Pick<GetOptions, 'into' | 'signal'>,
): Promise<Uint8Array | string> {
  try {
    return await repository.storage.get(packName(pack.packId), { ...options, range: { offsetBytes: start, lengthBytes: end - start } });
  } catch (error) {
    if (!isDamage(error)) throw error;
    return error.message;
  }
}

/** The result of a part of which nothing could be read. */
function failedPart(pack: PackToRestore, reason: string): RestoredPack {
  const failed = [];
  const parts = [];
  for (const use of readBlobUses(pack.uses)) {
    if (use.kind === 'part') parts.push({ fileNumber: use.fileNumber, partCount: 1, failure: reason });
    else failed.push({ path: joinPath(pack.folders[use.folder] ?? '/', use.name), code: 'repository_damaged' as const, reason });
  }
  return { filesDone: 0, bytesDone: 0, replacedCount: 0, failed, parts, warnings: [] };
}

function sumOf(results: readonly RestoredPack[]): RestoredPack {
  return {
    filesDone: results.reduce((sum, { filesDone }) => sum + filesDone, 0),
    bytesDone: results.reduce((sum, { bytesDone }) => sum + bytesDone, 0),
    replacedCount: results.reduce((sum, { replacedCount }) => sum + replacedCount, 0),
    failed: results.flatMap(({ failed }) => failed),
    parts: results.flatMap(({ parts }) => parts),
    warnings: results.flatMap(({ warnings }) => warnings),
  };
}
