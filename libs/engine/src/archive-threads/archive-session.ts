import { openArena } from '@holdfast/restic-format/arena';
import { objectIdBytes } from '@holdfast/restic-format/object-id';
import { createSha256Lanes } from '@holdfast/restic-format/sha256-lanes';
import { closeSync } from 'node:fs';
import { loadChunkInspector, type ChunkInspector } from '../archive-stream/chunk-inspection.ts';
import { openSharedIndex } from '../blob-index.ts';
import { openBlobClaims } from '../threads/blob-claims.ts';
import type { Answer, OpenThreadSession, SessionContext, ThreadSession } from '../threads/thread-session.ts';
import { counters, type ArchiveCall, type ArchiveEvent, type ArchiveThreadData } from './archive-calls.ts';
import { handingOutput, writingOutput } from './pack-output.ts';
import { storeChunks, type ChunkStoring } from './thread-chunks.ts';
import { readRegionBytes, ThreadFiles } from './thread-files.ts';
import { ThreadPacker, threadPackerBytes } from './thread-packer.ts';

/**
 * What one thread does in a backup: it reads files, cuts, hashes, compresses, seals and packs them inside its own memory. Paths
 * come in; ids, and word of packs, go out.
 *
 * @public loaded by thread-main.ts, by its URL
 */
export const openThreadSession: OpenThreadSession<ArchiveThreadData, ArchiveCall> = async (data, context) => {
  const inspector = data.inspector === null ? null : await loadChunkInspector(data.inspector);
  return new ArchiveSession(data, context, inspector);
};

class ArchiveSession implements ThreadSession<ArchiveCall> {
  readonly #context: SessionContext;
  readonly #counters: Int32Array;
  readonly #arena = openArena(readRegionBytes + threadPackerBytes);
  readonly #lanes = createSha256Lanes(this.#arena.memory);
  readonly #files: ThreadFiles;
  readonly #packer: ThreadPacker;
  readonly #chunkStoring: ChunkStoring;
  readonly #isNew: (id: Uint8Array) => boolean;
  /** Of files that other threads read from, by the files' numbers. */
  readonly #descriptors = new Map<number, number>();
  #groupCount = 0;
  /** Of its own, so that it can be looked at as words too. */
  readonly #id = new Uint8Array(objectIdBytes);

  constructor(
    { masterKeys, chunkerPolynomial, compression, holdsRecords, index, claims, storage, counters: shared }: ArchiveThreadData,
    context: SessionContext,
    inspector: ChunkInspector | null,
  ) {
    this.#context = context;
    this.#counters = new Int32Array(shared);
    const [known, claimed] = [openSharedIndex(index), openBlobClaims(claims)];
    this.#isNew = (id) => !known.hasData(id) && claimed.claim(id);
    const arena = this.#arena;
    this.#packer = new ThreadPacker({
      arena,
      address: arena.firstAddress + readRegionBytes,
      masterKeys,
      compression,
      holdsRecords,
      openOutput: storage === null ? handingOutput(context, shared) : writingOutput(storage, context),
    });
    const save = (pieces: Uint32Array, count: number, ids: Uint8Array): Promise<void> => this.#save(pieces, count, ids);
    this.#chunkStoring = { arena, address: arena.firstAddress, save, inspector };
    this.#files = new ThreadFiles({
      arena,
      address: arena.firstAddress,
      polynomial: chunkerPolynomial,
      save,
      throwIfAborted: () => context.throwIfAborted(),
    });
  }

  async handle(call: ArchiveCall): Promise<Answer> {
    if (call.kind === 'chunks') return await storeChunks(call, this.#chunkStoring);
    return { output: await this.#answer(call) };
  }

  async close(): Promise<void> {
    for (const descriptor of this.#descriptors.values()) closeSync(descriptor);
    await this.#packer.close();
  }

  async #answer(call: Exclude<ArchiveCall, { kind: 'chunks' }>): Promise<unknown> {
    switch (call.kind) {
      case 'batch':
        return await this.#files.storeBatch(call.folders);
      case 'file':
        return await this.#storeLarge(call);
      case 'group':
        return await this.#files.storeGroup(call.descriptor, call.cuts);
      case 'release':
        this.#release(call.file);
        return undefined;
      case 'trees':
        return await this.#storeTrees(call);
      case 'finish':
        return await this.#packer.finish();
    }
    return undefined;
  }

  async #save(pieces: Uint32Array, count: number, ids: Uint8Array): Promise<void> {
    this.#lanes.hash(pieces, count, ids);
    for (let nth = 0; nth < count; nth++) {
      this.#context.throwIfAborted();
      this.#id.set(ids.subarray(nth * objectIdBytes, (nth + 1) * objectIdBytes));
      if (this.#isNew(this.#id)) await this.#packer.save('data', this.#id, pieces[nth * 2] ?? 0, pieces[nth * 2 + 1] ?? 0);
    }
  }

  async #storeLarge({ file, folder, name, mayShare }: ArchiveCall & { kind: 'file' }): Promise<unknown> {
    const share = (descriptor: number, cuts: Float64Array): number | null => {
      if (!mayShare || !this.#takeWanted()) return null;
      const group = this.#groupCount++;
      this.#tell({ kind: 'group', file, group, descriptor, cuts });
      return group;
    };
    const answer = await this.#files.storeLarge(folder, name, share, (bytes) => this.#tell({ kind: 'bytes', file, bytes }));
    if (answer.descriptor !== -1 && answer.segments.some((segment) => typeof segment === 'number'))
      this.#descriptors.set(file, answer.descriptor);
    return answer;
  }

  #release(file: number): void {
    const descriptor = this.#descriptors.get(file);
    if (descriptor === undefined) return;
    this.#descriptors.delete(file);
    closeSync(descriptor);
  }

  async #storeTrees({ bytes, lengths, ids }: ArchiveCall & { kind: 'trees' }): Promise<undefined> {
    const { memory, firstAddress } = this.#arena;
    memory.set(bytes, firstAddress);
    let at = firstAddress;
    for (const [nth, length] of lengths.entries()) {
      await this.#packer.save('tree', ids.subarray(nth * objectIdBytes, (nth + 1) * objectIdBytes), at, length);
      at += length;
    }
    return undefined;
  }

  /** True when another thread has time for a group of chunks. */
  #takeWanted(): boolean {
    for (;;) {
      const wanted = Atomics.load(this.#counters, counters.wantedGroups);
      if (wanted <= 0) return false;
      if (Atomics.compareExchange(this.#counters, counters.wantedGroups, wanted, wanted - 1) === wanted) return true;
    }
  }

  #tell(event: ArchiveEvent): void {
    this.#context.emit(event);
  }
}
