import type { Arena } from '@holdfast/restic-format/arena';
import { createArenaCipher, type ArenaCipher } from '@holdfast/restic-format/arena-cipher';
import { maxChunkBytes } from '@holdfast/restic-format/chunker';
import { overheadBytes, type MasterKeys } from '@holdfast/restic-format/cipher';
import { compressionLevels, type CompressionMode } from '@holdfast/restic-format/compression';
import { compressBound, createKeptCompressor, type KeptZstd } from '@holdfast/restic-format/kept-zstd';
import type { BlobType } from '@holdfast/restic-format/pack';
import { randomInt } from 'node:crypto';
import { setImmediate as afterEvents } from 'node:timers/promises';
import type { PackRest } from './archive-calls.ts';
import { treeCompression } from '../sealed-blob.ts';
import type { OpenPackOutput, PackOutput } from './pack-output.ts';
import { packRegionBytes, ThreadPack } from './thread-pack.ts';

export interface ThreadPackerOptions {
  readonly arena: Arena;
  /** The first of threadPackerBytes bytes of the arena that are the packer's. */
  readonly address: number;
  readonly masterKeys: MasterKeys;
  /** Of data; for trees see treeCompression. */
  readonly compression: CompressionMode;
  /** See Source.holdsRecords. */
  readonly holdsRecords: boolean;
  readonly openOutput: OpenPackOutput;
}

/** See packer.ts: blobs spread at random over several open packs. The other threads have theirs beside. */
const openPacks: readonly BlobType[] = ['data', 'data', 'tree'];
/** Packs of one thread that are being made durable; with more it waits. */
const maxCommits = 2;

/** zstd finds less than this worth of a frame in nothing. */
const minCompressibleBytes = 24;
/**
 * Auto is restic's default, level 3. Data is compressed with that level's window but one table of matches instead of two: on the
 * benchmark's files that is within a hundredth of restic's size, at three quarters of the time. A table of 512 KiB stays in a core's own cache.
 * Whoever asks for another mode gets what it says.
 */
const autoSearch = { tableLog: 17, minMatch: 5 };
/**
 * Records are alike in what is longer than five bytes, and are full of digits that five of repeat by chance: a match costs more than they do.
 * On rows as COPY writes them, and on a server's pages, this makes 3 to 7 % less of them, at the time of a half to nine tenths; a quarter of it
 * where there is nothing but digits. Programs and sources come out 1 to 2 % larger.
 */
const recordSearch = { tableLog: 16, minMatch: 6 };

/** A large blob is compressed and sealed here, and so is a pack's header. */
const stageBytes = overheadBytes + compressBound(maxChunkBytes) + 64;

/** How much of an arena a packer takes. */
export const threadPackerBytes = stageBytes + openPacks.length * packRegionBytes;

/** Compresses, seals and packs blobs that lie in an arena. */
export class ThreadPacker {
  readonly #options: ThreadPackerOptions;
  readonly #cipher: ArenaCipher;
  readonly #zstd: Record<BlobType, KeptZstd>;
  readonly #open: ({ pack: ThreadPack; output: PackOutput } | undefined)[] = openPacks.map(() => undefined);
  readonly #commits = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  constructor(options: ThreadPackerOptions) {
    this.#options = options;
    this.#cipher = createArenaCipher(options.arena, options.masterKeys);
    const mode = treeCompression(options.compression);
    const tree = createKeptCompressor(compressionLevels[mode]);
    const search = options.holdsRecords ? recordSearch : autoSearch;
    const data = mode === 'auto' ? createKeptCompressor(compressionLevels.auto, { search }) : tree;
    this.#zstd = { data, tree };
  }

  /** Packs the blob at `address` of the arena; its bytes are the caller's again when it is done. Errors: those of the storage. */
  async save(type: BlobType, id: Uint8Array, address: number, plainBytes: number): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    const place = type === 'tree' ? 2 : randomInt(2);
    const { pack } = (this.#open[place] ??= await this.#begin(type, place));
    const needed = overheadBytes + compressBound(plainBytes);
    if (needed > packRegionBytes) {
      const stage = this.#options.address;
      const packed = this.#compress(type, address, plainBytes, stage);
      pack.takeFrom(stage, id, this.#cipher.seal(stage, packed.bodyBytes), packed.plainBytes);
    } else {
      if (needed > pack.roomBytes) pack.flush();
      const packed = this.#compress(type, address, plainBytes, pack.nextAddress);
      pack.take(id, packed.bodyBytes, packed.plainBytes);
    }
    if (pack.isFull) await this.#end(place);
  }

  /** Ends the packs and waits until they are durable. What never filled a region is returned instead. */
  async finish(): Promise<PackRest[]> {
    const rests: PackRest[] = [];
    for (const [place, open] of this.#open.entries()) {
      if (open === undefined) continue;
      if (open.pack.isOut) await this.#end(place);
      else {
        rests.push({ header: open.pack.header, blobs: open.pack.copyRegion() });
        open.output.discard();
        this.#open[place] = undefined;
      }
    }
    await Promise.all(this.#commits);
    if (this.#failure !== undefined) throw this.#failure.error;
    return rests;
  }

  /** Gives up what is not durable. */
  async close(): Promise<void> {
    for (const open of this.#open) open?.output.discard();
    this.#open.fill(undefined);
    await Promise.all(this.#commits);
  }

  async #begin(type: BlobType, place: number): Promise<{ pack: ThreadPack; output: PackOutput }> {
    const { arena, address, openOutput } = this.#options;
    const output = await openOutput();
    return { pack: new ThreadPack(type, arena, address + stageBytes + place * packRegionBytes, this.#cipher, output), output };
  }

  /** Compresses from one place of the arena to another, where it can be sealed. `plainBytes` is 0 when it is not compressed. */
  #compress(type: BlobType, from: number, plainBytes: number, to: number): { bodyBytes: number; plainBytes: number } {
    const { memory } = this.#options.arena;
    const isCompressible = plainBytes >= minCompressibleBytes && (this.#options.compression !== 'off' || type === 'tree');
    const zstd = this.#zstd[type];
    const body = to + overheadBytes / 2;
    const packed = isCompressible ? zstd.run(memory, from, plainBytes, memory, body, compressBound(plainBytes)) : -1;
    if (packed >= 0 && packed < plainBytes) return { bodyBytes: packed, plainBytes };
    memory.copyWithin(body, from, from + plainBytes);
    return { bodyBytes: plainBytes, plainBytes: 0 };
  }

  async #end(place: number): Promise<void> {
    const open = this.#open[place];
    if (open === undefined) return;
    this.#open[place] = undefined;
    const ended = open.pack.end(this.#options.address);
    const commit = open.output.commit(ended).catch((error: unknown) => {
      this.#failure ??= { error };
    });
    this.#commits.add(commit);
    void commit.then(() => this.#commits.delete(commit));
    // Those that are done can say so only now: everything else here keeps the thread.
    await afterEvents();
    while (this.#commits.size >= maxCommits) await Promise.race(this.#commits);
  }
}
