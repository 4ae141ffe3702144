import { openArena } from '@holdfast/restic-format/arena';
import { createArenaCipher, type ArenaCipher } from '@holdfast/restic-format/arena-cipher';
import { overheadBytes, type MasterKeys } from '@holdfast/restic-format/cipher';
import { decompressBlob } from '@holdfast/restic-format/compression';
import { createKeptDecompressor } from '@holdfast/restic-format/kept-zstd';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { createSha256Lanes, digestBytes, type Sha256Lanes } from '@holdfast/restic-format/sha256-lanes';
import { isDamage } from './damage.ts';

/** Blobs of a pack, in the order of their offsets, as columns: they are too many for an object each. */
export interface SealedBlobs {
  offsetAt(nth: number): number;
  lengthAt(nth: number): number;
  /** 0 when it is not compressed. */
  plainLengthAt(nth: number): number;
  idAt(nth: number): ObjectId;
  /** Whether the 32 bytes of `ids` from `position` on are its id. */
  hasIdAt(nth: number, ids: Uint8Array, position: number): boolean;
}

/** The blobs from..behind, none or some, of which all bytes are in a window that begins at `start` of the pack. */
export interface Stretch {
  readonly start: number;
  readonly blobs: SealedBlobs;
  readonly from: number;
  readonly behind: number;
}

/** The plaintext, which is valid during the call, or why there is none. In the order of the blobs, each once. */
export type OnUnpacked = (nth: number, plain: Uint8Array | undefined, reason: string) => void;

export interface BatchUnpackerOptions {
  readonly windowBytes: number;
  /** Whether the window stays as it is, for which there is as much memory again; else blobs are opened in their places. */
  readonly keepsSealed: boolean;
}

/**
 * The longest chunk there is, sealed or plain, and a little: what is longer is a tree of a huge folder, or another program's. Memory that
 * is not written to takes no room.
 */
export const longestChunkBytes = 9 * 1024 * 1024;
/**
 * So much plaintext, or one longer blob, waits for its hash: what a segment usually unpacks to, so that its chunks are enough for two to be
 * side by side until the end.
 */
const maxWaitingBytes = 6 * 1024 * 1024;
/** One byte more than the plaintext may have: a frame that holds more shows by filling it. */
const spareBytes = 1;
const ivBytes = 16;

/**
 * Opens, decompresses and hashes many blobs: small ones are decrypted together, and hashes are made side by side, which costs less than
 * one after the other. The caller reads a stretch of a pack into the window; everything else happens in memory that is kept.
 */
export class BatchUnpacker {
  readonly window: Uint8Array<ArrayBuffer>;
  readonly windowAddress: number;
  /** Streams of the window are hashed along with the next stretch. */
  readonly lanes: Sha256Lanes;
  readonly #memory: Uint8Array<ArrayBuffer>;
  readonly #cipher: ArenaCipher;
  readonly #decompressor = createKeptDecompressor();
  /** From a sealed blob to where it is opened. */
  readonly #shift: number;
  readonly #output: number;
  #outputUsed = 0;
  /** The blobs from..behind wait for their hashes, */
  #from = 0;
  #behind = 0;
  /** those that have a plaintext. Why others have none, or ''. */
  #reasons: string[] = [];
  /** Sealed and plain pieces: pairs of address and length. */
  #sealed = new Uint32Array(0);
  #plain = new Uint32Array(0);
  #isOpen = new Uint8Array(0);
  #digests = new Uint8Array(0);

  constructor(keys: MasterKeys, { windowBytes, keepsSealed }: BatchUnpackerOptions) {
    this.#shift = keepsSealed ? windowBytes : 0;
    const arena = openArena(windowBytes + this.#shift + longestChunkBytes + spareBytes);
    const { memory, firstAddress } = arena;
    this.#memory = memory;
    this.windowAddress = firstAddress;
    this.window = memory.subarray(firstAddress, firstAddress + windowBytes);
    this.#output = firstAddress + windowBytes + this.#shift;
    this.#cipher = createArenaCipher(arena, keys);
    this.lanes = createSha256Lanes(memory);
  }

  /** Unpacks the blobs of the stretch in the window, and checks each against its id. */
  unpack({ start, blobs, from, behind }: Stretch, onUnpacked: OnUnpacked): void {
    this.#makeRoom(behind - from);
    let next = from;
    // Once for none too: streams go along.
    do {
      const end = apartUntil(blobs, next, behind);
      this.#openAll(blobs, next, end, start);
      this.#from = next;
      this.#behind = next;
      this.#outputUsed = 0;
      for (let nth = next; nth < end; nth++) this.#unpackOne(blobs, nth, nth - next, onUnpacked);
      this.#settle(blobs, onUnpacked);
      next = end;
    } while (next < behind);
  }

  #openAll(blobs: SealedBlobs, from: number, behind: number, start: number): void {
    const count = behind - from;
    const sealed = this.#sealed;
    for (let nth = 0; nth < count; nth++) {
      sealed[nth * 2] = this.windowAddress + blobs.offsetAt(from + nth) - start;
      sealed[nth * 2 + 1] = blobs.lengthAt(from + nth);
    }
    this.#cipher.openMany(sealed, count, this.#isOpen, this.#shift);
  }

  /** Decompresses a blob and has it wait for its hash; `piece` is its number among those that were opened with it. */
  #unpackOne(blobs: SealedBlobs, nth: number, piece: number, onUnpacked: OnUnpacked): void {
    const at = (this.#sealed[piece * 2] ?? 0) + this.#shift + ivBytes;
    const openedBytes = (this.#sealed[piece * 2 + 1] ?? 0) - overheadBytes;
    const plainLength = blobs.plainLengthAt(nth);
    const isHuge = plainLength > longestChunkBytes;
    const isFull = this.#outputUsed > 0 && this.#outputUsed + plainLength > maxWaitingBytes;
    if (isHuge || isFull) this.#settle(blobs, onUnpacked);
    if (openedBytes < 0) this.#wait(at, 0, `sealed bytes are too short: ${openedBytes + overheadBytes}`);
    else if (this.#isOpen[piece] !== 1) this.#wait(at, 0, 'sealed bytes do not match their MAC');
    else if (plainLength === 0) this.#wait(at, openedBytes, '');
    else if (isHuge) this.#unpackHuge(blobs, nth, this.#memory.subarray(at, at + openedBytes), onUnpacked);
    else {
      const to = this.#output + this.#outputUsed;
      const length = this.#decompressor.run(this.#memory, at, openedBytes, this.#memory, to, plainLength + spareBytes);
      if (length !== plainLength) this.#wait(at, 0, `a compressed blob does not hold ${plainLength} bytes as its entry says`);
      else {
        this.#wait(to, plainLength, '');
        this.#outputUsed += plainLength;
      }
    }
  }

  /** In memory of its own: the tree of a huge folder, or a length that is wrong. Nothing waits before it. */
  #unpackHuge(blobs: SealedBlobs, nth: number, opened: Uint8Array, onUnpacked: OnUnpacked): void {
    this.#from = ++this.#behind;
    let plain: Uint8Array;
    try {
      plain = decompressBlob(opened, blobs.plainLengthAt(nth));
    } catch (error) {
      if (!isDamage(error)) throw error;
      onUnpacked(nth, undefined, error.message);
      return;
    }
    const id = blobs.idAt(nth);
    if (hashOf(plain) === id) onUnpacked(nth, plain, '');
    else onUnpacked(nth, undefined, wrongContent(id));
  }

  /** The next blob's plaintext, or why there is none. */
  #wait(plainAt: number, plainBytes: number, reason: string): void {
    const waiting = this.#behind++ - this.#from;
    this.#plain[waiting * 2] = plainAt;
    this.#plain[waiting * 2 + 1] = plainBytes;
    this.#reasons[waiting] = reason;
  }

  /** Hashes what waits, and tells what came of it. */
  #settle(blobs: SealedBlobs, onUnpacked: OnUnpacked): void {
    const [from, count] = [this.#from, this.#behind - this.#from];
    this.lanes.hash(this.#plain, count, this.#digests);
    this.#from = this.#behind;
    this.#outputUsed = 0;
    for (let nth = 0; nth < count; nth++) {
      const reason = this.#reasons[nth] ?? '';
      if (reason !== '') onUnpacked(from + nth, undefined, reason);
      else if (!blobs.hasIdAt(from + nth, this.#digests, nth * digestBytes))
        onUnpacked(from + nth, undefined, wrongContent(blobs.idAt(from + nth)));
      else {
        const at = this.#plain[nth * 2] ?? 0;
        onUnpacked(from + nth, this.#memory.subarray(at, at + (this.#plain[nth * 2 + 1] ?? 0)), '');
      }
    }
  }

  #makeRoom(count: number): void {
    if (this.#isOpen.length >= count) return;
    const room = Math.max(256, count * 2);
    this.#sealed = new Uint32Array(room * 2);
    this.#plain = new Uint32Array(room * 2);
    this.#isOpen = new Uint8Array(room);
    this.#digests = new Uint8Array(room * digestBytes);
  }
}

const wrongContent = (id: ObjectId): string => `blob ${id} does not have the content of its id`;

/** The first blob behind `from` that lies in an earlier one, as in an index that is wrong: to open them together would spoil both. */
function apartUntil(blobs: SealedBlobs, from: number, behind: number): number {
  let [nth, end] = [from, 0];
  for (; nth < behind && (nth === from || blobs.offsetAt(nth) >= end); nth++) end = blobs.offsetAt(nth) + blobs.lengthAt(nth);
  return nth;
}
