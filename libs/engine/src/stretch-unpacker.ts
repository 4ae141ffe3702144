import { openArena } from '@holdfast/restic-format/arena';
import { createArenaCipher } from '@holdfast/restic-format/arena-cipher';
import { overheadBytes, type MasterKeys } from '@holdfast/restic-format/cipher';
import { decompressBlob } from '@holdfast/restic-format/compression';
import { createKeptDecompressor } from '@holdfast/restic-format/kept-zstd';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { createSha256Lanes, digestBytes } from '@holdfast/restic-format/sha256-lanes';
import { isDamage } from './damage.ts';

/**
 * Opens, decompresses and hashes the blobs of a stretch of a pack, several at a time: side by side they cost less than one after the
 * other. The caller reads the stretch into the window; everything else happens in memory that is kept.
 */
export interface StretchUnpacker {
  /** Memory of at least `sizeBytes`. What an earlier call gave may be gone after it. */
  window(sizeBytes: number): Uint8Array<ArrayBuffer>;
  /**
   * Unpacks blobs of the window, where the pack's bytes from `start` on are, in the order of their offsets. `take` gets each in turn, its
   * plaintext or why there is none; the plaintext is checked against its id, and valid until `take` returns.
   */
  unpackAll(blobs: readonly SealedBlob[], start: number, take: (nth: number, plain: Uint8Array | string) => void): void;
}

export interface SealedBlob {
  readonly offset: number;
  readonly length: number;
  /** 0 when it is not compressed. */
  readonly plainLength: number;
  readonly id: ObjectId;
  /** Whether the 32 bytes from `at` on are its id. */
  hasId(digests: Uint8Array, at: number): boolean;
}

const ivBytes = 16;
/** One byte more than the plaintext may have: a frame that holds more shows by filling it. */
const spareBytes = 1;
/** Room for the longest chunk there is. Memory that is not written to takes no room. */
const keptBytes = 9 * 1024 * 1024;
/** Plaintext that is made in one go: several chunks of a large file, and no more than stays in the processor's cache until it is written. */
const maxBatchBytes = 4 * 1024 * 1024;
const maxBatchCount = 1024;

export function createStretchUnpacker(keys: MasterKeys): StretchUnpacker {
  return new ArenaUnpacker(keys);
}

class ArenaUnpacker implements StretchUnpacker {
  readonly #keys: MasterKeys;
  readonly #decompressor = createKeptDecompressor();
  readonly #sealed = new Uint32Array(maxBatchCount * 2);
  readonly #plain = new Uint32Array(maxBatchCount * 2);
  readonly #isOpen = new Uint8Array(maxBatchCount);
  readonly #digests = new Uint8Array(maxBatchCount * digestBytes);
  #workplace: Workplace;

  constructor(keys: MasterKeys) {
    this.#keys = keys;
    this.#workplace = openWorkplace(keys, keptBytes);
  }

  window(sizeBytes: number): Uint8Array<ArrayBuffer> {
    if (sizeBytes > this.#workplace.window.length) this.#workplace = openWorkplace(this.#keys, sizeBytes);
    return this.#workplace.window;
  }

  unpackAll(blobs: readonly SealedBlob[], start: number, take: (nth: number, plain: Uint8Array | string) => void): void {
    for (let from = 0, to = 0; from < blobs.length; from = to) {
      to = batchEnd(blobs, from);
      const blob = blobs[from];
      if (blob !== undefined && blob.plainLength > keptBytes) take(from, this.#unpackLong(blob, start));
      else this.#unpackBatch(blobs, start, from, to, take);
    }
  }

  #unpackBatch(
    blobs: readonly SealedBlob[],
    start: number,
    from: number,
    to: number,
    take: (nth: number, plain: Uint8Array | string) => void,
  ): void {
    const { cipher, lanes, memory, windowAddress } = this.#workplace;
    const count = to - from;
    for (let nth = 0; nth < count; nth++) {
      const blob = blobs[from + nth];
      this.#sealed[nth * 2] = windowAddress + (blob?.offset ?? 0) - start;
      this.#sealed[nth * 2 + 1] = blob?.length ?? 0;
    }
    cipher.openMany(this.#sealed, count, this.#isOpen);
    const reasons = this.#decompressBatch(blobs, from, count);
    lanes.hash(this.#plain, count, this.#digests);
    for (let nth = 0; nth < count; nth++) {
      const blob = blobs[from + nth];
      if (blob === undefined) break;
      const reason = reasons?.get(nth);
      if (reason !== undefined) take(from + nth, reason);
      else if (!blob.hasId(this.#digests, nth * digestBytes)) take(from + nth, wrongContent(blob.id));
      else {
        const at = this.#plain[nth * 2] ?? 0;
        take(from + nth, memory.subarray(at, at + (this.#plain[nth * 2 + 1] ?? 0)));
      }
    }
  }

  /** Finds where the plaintexts of the batch are. Gives why some have none, by their number in the batch. */
  #decompressBatch(blobs: readonly SealedBlob[], from: number, count: number): Map<number, string> | undefined {
    const { memory, outputAddress } = this.#workplace;
    let reasons: Map<number, string> | undefined;
    let output = outputAddress;
    for (let nth = 0; nth < count; nth++) {
      const [at, sealedBytes] = [this.#sealed[nth * 2] ?? 0, this.#sealed[nth * 2 + 1] ?? 0];
      const plainLength = blobs[from + nth]?.plainLength ?? 0;
      const openedBytes = sealedBytes - overheadBytes;
      this.#plain[nth * 2] = at + ivBytes;
      this.#plain[nth * 2 + 1] = 0;
      if (this.#isOpen[nth] !== 1) {
        const reason = openedBytes < 0 ? `sealed bytes are too short: ${sealedBytes}` : 'sealed bytes do not match their MAC';
        (reasons ??= new Map()).set(nth, reason);
      } else if (plainLength === 0) {
        this.#plain[nth * 2 + 1] = openedBytes;
      } else {
        const length = this.#decompressor.run(memory, at + ivBytes, openedBytes, memory, output, plainLength + spareBytes);
        if (length === plainLength) {
          this.#plain[nth * 2] = output;
          this.#plain[nth * 2 + 1] = plainLength;
          output += plainLength + spareBytes;
        } else {
          (reasons ??= new Map()).set(nth, `a compressed blob does not hold ${plainLength} bytes as its entry says`);
        }
      }
    }
    return reasons;
  }

  /** What is longer than any chunk: a tree of a huge folder, or another program's. */
  #unpackLong(blob: SealedBlob, start: number): Uint8Array | string {
    const { cipher, memory, windowAddress } = this.#workplace;
    try {
      const at = windowAddress + blob.offset - start;
      const openedBytes = cipher.open(at, blob.length);
      const plain = decompressBlob(memory.subarray(at + ivBytes, at + ivBytes + openedBytes), blob.plainLength);
      return hashOf(plain) === blob.id ? plain : wrongContent(blob.id);
    } catch (error) {
      if (!isDamage(error)) throw error;
      return error.message;
    }
  }
}

const wrongContent = (id: ObjectId): string => `blob ${id} does not have the content of its id`;

/** The blobs from `from` on that are unpacked together; none of them lies in another one, as in an index that is wrong. */
function batchEnd(blobs: readonly SealedBlob[], from: number): number {
  let [plainBytes, sealedEnd] = [0, 0];
  let to = from;
  for (; to < blobs.length && to - from < maxBatchCount; to++) {
    const blob = blobs[to];
    if (blob === undefined) break;
    const { offset, length, plainLength } = blob;
    plainBytes += Math.max(length, plainLength) + spareBytes;
    if (to > from && (plainBytes > maxBatchBytes || plainLength > keptBytes || offset < sealedEnd)) break;
    sealedEnd = offset + length;
  }
  return to;
}

type Workplace = ReturnType<typeof openWorkplace>;

function openWorkplace(keys: MasterKeys, windowBytes: number) {
  const arena = openArena(windowBytes + keptBytes + spareBytes);
  const { memory, firstAddress: windowAddress } = arena;
  const outputAddress = windowAddress + windowBytes;
  const window = memory.subarray(windowAddress, outputAddress);
  return { cipher: createArenaCipher(arena, keys), lanes: createSha256Lanes(memory), memory, window, windowAddress, outputAddress };
}
