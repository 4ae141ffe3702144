import { openArena } from '@holdfast/restic-format/arena';
import { createArenaCipher, type ArenaCipher } from '@holdfast/restic-format/arena-cipher';
import { overheadBytes, type MasterKeys } from '@holdfast/restic-format/cipher';
import { decompressBlob } from '@holdfast/restic-format/compression';
import { createKeptDecompressor } from '@holdfast/restic-format/kept-zstd';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { createSha256Lanes, digestBytes, type Sha256Lanes, type Sha256Stream } from '@holdfast/restic-format/sha256-lanes';
import { isDamage } from './damage.ts';
import { PackedEntries } from './packed-entries.ts';

/**
 * Opens, decompresses and hashes the blobs of a pack, and hashes the pack itself, segment by segment: small blobs are decrypted together,
 * and all hashes of a segment are made side by side, those of its blobs and that of its own bytes, which therefore stay sealed.
 */
export interface SegmentUnpacker {
  /** Before a pack's first segment. What was begun with another one, and given up, is forgotten. */
  beginPack(): void;
  /** Where the bytes of the next segment are to be put. `sizeBytes` is at most maxSegmentBytes. */
  window(sizeBytes: number): Uint8Array<ArrayBuffer>;
  /** Takes the `sizeBytes` in the window, which begin at `start` of the pack. The blobs from..behind, none or some, lie in them one behind the other. */
  add(segment: Segment, onUnpacked: OnUnpacked): void;
  /** The hash of all segments of the pack: 32 bytes. */
  packDigest(): Uint8Array;
}

export interface Segment {
  readonly start: number;
  readonly sizeBytes: number;
  readonly blobs: PackedEntries;
  readonly from: number;
  readonly behind: number;
}

/** The plaintext, which is valid during the call, or why there is none. In the order of the blobs, each once. */
export type OnUnpacked = (nth: number, plain: Uint8Array | undefined, reason: string) => void;

/**
 * The longest chunk there is, sealed or plain, and a little: what is longer is a tree of a huge folder, and not for here. Memory that is
 * not written to takes no room.
 */
export const maxSegmentBytes = 9 * 1024 * 1024;
const outputBytes = maxSegmentBytes + 1;
/**
 * So much plaintext, or one longer blob, waits for its hash: what a segment usually unpacks to, so that its chunks are enough for two to be
 * side by side until the end.
 */
const maxWaitingBytes = 6 * 1024 * 1024;
const ivBytes = 16;

export function createSegmentUnpacker(keys: MasterKeys): SegmentUnpacker {
  return new Unpacker(keys);
}

class Unpacker implements SegmentUnpacker {
  readonly #memory: Uint8Array<ArrayBuffer>;
  readonly #cipher: ArenaCipher;
  readonly #lanes: Sha256Lanes;
  #packStream: Sha256Stream;
  readonly #decompressor = createKeptDecompressor();
  /** The sealed bytes, behind them as many for what is opened, and behind these what is decompressed. */
  readonly #window: number;
  readonly #output: number;
  #outputUsed = 0;
  /** The blobs of the segment, of which those from `#from` to `#behind` wait for their hashes. */
  #blobs = PackedEntries.allocate(0);
  #from = 0;
  #behind = 0;
  /** For each of them why it has no plaintext, or ''. */
  #reasons: string[] = [];
  /** Sealed and plain pieces: pairs of address and length. */
  #sealed = new Uint32Array(0);
  #plain = new Uint32Array(0);
  #isOpen = new Uint8Array(0);
  #digests = new Uint8Array(0);

  constructor(keys: MasterKeys) {
    const arena = openArena(2 * maxSegmentBytes + outputBytes);
    const { memory, firstAddress } = arena;
    this.#memory = memory;
    this.#window = firstAddress;
    this.#output = firstAddress + 2 * maxSegmentBytes;
    this.#cipher = createArenaCipher(arena, keys);
    this.#lanes = createSha256Lanes(memory);
    this.#packStream = this.#lanes.openStream();
  }

  beginPack(): void {
    this.#packStream = this.#lanes.openStream();
  }

  window(sizeBytes: number): Uint8Array<ArrayBuffer> {
    return this.#memory.subarray(this.#window, this.#window + sizeBytes);
  }

  add({ start, sizeBytes, blobs, from, behind }: Segment, onUnpacked: OnUnpacked): void {
    this.#packStream.add(this.#window, sizeBytes);
    const count = behind - from;
    this.#makeRoom(count);
    const sealed = this.#sealed;
    for (let nth = 0; nth < count; nth++) {
      sealed[nth * 2] = this.#window + blobs.offsetAt(from + nth) - start;
      sealed[nth * 2 + 1] = blobs.lengthAt(from + nth);
    }
    this.#cipher.openMany(sealed, count, this.#isOpen, maxSegmentBytes);
    this.#blobs = blobs;
    this.#from = from;
    this.#behind = from;
    for (let nth = 0; nth < count; nth++) this.#unpack(blobs, from + nth, nth, onUnpacked);
    this.#settle(onUnpacked);
  }

  /** Decompresses a blob and has it wait for its hash; `nth` is its number in the segment. */
  #unpack(blobs: PackedEntries, blobNumber: number, nth: number, onUnpacked: OnUnpacked): void {
    const at = (this.#sealed[nth * 2] ?? 0) + maxSegmentBytes + ivBytes;
    const openedBytes = (this.#sealed[nth * 2 + 1] ?? 0) - overheadBytes;
    const plainLength = blobs.plainLengthAt(blobNumber);
    const isHuge = plainLength > maxSegmentBytes;
    const isFull = this.#outputUsed > 0 && this.#outputUsed + plainLength > maxWaitingBytes;
    if (isHuge || isFull) this.#settle(onUnpacked);
    if (openedBytes < 0) this.#wait(at, 0, `sealed bytes are too short: ${openedBytes + overheadBytes}`);
    else if (this.#isOpen[nth] !== 1) this.#wait(at, 0, 'sealed bytes do not match their MAC');
    else if (plainLength === 0) this.#wait(at, openedBytes, '');
    else if (isHuge) this.#unpackHuge(blobs, blobNumber, this.#memory.subarray(at, at + openedBytes), onUnpacked);
    else {
      const to = this.#output + this.#outputUsed;
      // With room for one byte more than there may be: a frame that holds more shows by filling it.
      const length = this.#decompressor.run(this.#memory, at, openedBytes, this.#memory, to, plainLength + 1);
      if (length !== plainLength) this.#wait(at, 0, `a compressed blob does not hold ${plainLength} bytes as its entry says`);
      else {
        this.#wait(to, plainLength, '');
        this.#outputUsed += plainLength;
      }
    }
  }

  /** In memory of its own: the tree of a huge folder, or a length that is wrong. Nothing waits before it. */
  #unpackHuge(blobs: PackedEntries, blobNumber: number, opened: Uint8Array, onUnpacked: OnUnpacked): void {
    this.#from = ++this.#behind;
    let plain: Uint8Array;
    try {
      plain = decompressBlob(opened, blobs.plainLengthAt(blobNumber));
    } catch (error) {
      if (!isDamage(error)) throw error;
      onUnpacked(blobNumber, undefined, error.message);
      return;
    }
    const id = blobs.idAt(blobNumber);
    if (hashOf(plain) === id) onUnpacked(blobNumber, plain, '');
    else onUnpacked(blobNumber, undefined, wrongContent(id));
  }

  /** The next blob's plaintext, or why there is none. */
  #wait(plainAt: number, plainBytes: number, reason: string): void {
    const waiting = this.#behind++ - this.#from;
    this.#plain[waiting * 2] = plainAt;
    this.#plain[waiting * 2 + 1] = plainBytes;
    this.#reasons[waiting] = reason;
  }

  /** Hashes what waits, and the segment's own bytes with the first of it, and tells what came of it. */
  #settle(onUnpacked: OnUnpacked): void {
    const blobs = this.#blobs;
    const [from, count] = [this.#from, this.#behind - this.#from];
    this.#lanes.hash(this.#plain, count, this.#digests);
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

  packDigest(): Uint8Array {
    return this.#packStream.digest();
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
