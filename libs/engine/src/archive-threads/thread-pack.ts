import type { Arena } from '@holdfast/restic-format/arena';
import type { ArenaCipher } from '@holdfast/restic-format/arena-cipher';
import type { BlobType } from '@holdfast/restic-format/pack';
import { createHash, type Hash } from 'node:crypto';
import { overheadBytes } from '@holdfast/restic-format/cipher';
import { maxPackBlobs, targetPackBytes } from '../open-pack.ts';
import type { PackOutput } from './pack-output.ts';

/** Sealed blobs gather in a pack's region until it is full, then they go out together. */
export const packRegionBytes = 1024 * 1024;

const entryBytes = 41;
const firstHeaderBytes = 64 * entryBytes;
/** Blobs in the region that wait for their seal: many at once cost less. */
const maxUnsealed = 1024;

/** A pack that grows in a region of an arena and leaves it from time to time. */
export class ThreadPack {
  readonly type: BlobType;
  readonly regionAddress: number;
  readonly #arena: Arena;
  readonly #cipher: ArenaCipher;
  readonly #output: PackOutput;
  readonly #hash: Hash = createHash('sha256');
  #header = Buffer.allocUnsafeSlow(firstHeaderBytes);
  #headerBytes = 0;
  #blobCount = 0;
  /** Where each of them lies and the length of what is to be sealed. */
  readonly #unsealed = new Uint32Array(maxUnsealed * 2);
  #unsealedCount = 0;
  #regionBytes = 0;
  #sizeBytes = 0;

  constructor(type: BlobType, arena: Arena, regionAddress: number, cipher: ArenaCipher, output: PackOutput) {
    this.type = type;
    this.#arena = arena;
    this.#cipher = cipher;
    this.regionAddress = regionAddress;
    this.#output = output;
  }

  get isFull(): boolean {
    return this.#sizeBytes >= targetPackBytes || this.#blobCount >= maxPackBlobs;
  }

  /** Whether something of it has left the region. */
  get isOut(): boolean {
    return this.#sizeBytes > this.#regionBytes;
  }

  /** Where the next blob may be sealed, and how many bytes it may have there. */
  get nextAddress(): number {
    return this.regionAddress + this.#regionBytes;
  }

  get roomBytes(): number {
    return packRegionBytes - this.#regionBytes;
  }

  /** Takes the blob whose `bodyBytes` are where ArenaCipher.seal wants them for nextAddress. `plainBytes` is 0 for one that is not compressed. */
  take(id: Uint8Array, bodyBytes: number, plainBytes: number): void {
    if (this.#unsealedCount === maxUnsealed) this.#seal();
    this.#unsealed[this.#unsealedCount * 2] = this.nextAddress;
    this.#unsealed[this.#unsealedCount * 2 + 1] = bodyBytes;
    this.#unsealedCount++;
    this.#regionBytes += bodyBytes + overheadBytes;
    this.#note(id, bodyBytes + overheadBytes, plainBytes);
  }

  /** Takes a sealed blob from elsewhere in the arena. */
  takeFrom(address: number, id: Uint8Array, sealedBytes: number, plainBytes: number): void {
    this.flush();
    this.#write(address, sealedBytes);
    this.#note(id, sealedBytes, plainBytes);
  }

  flush(): void {
    this.#seal();
    this.#write(this.regionAddress, this.#regionBytes);
    this.#regionBytes = 0;
  }

  /** Seals the header at `scratchAddress`, and says what the pack is called. Nothing can be taken any more. */
  end(scratchAddress: number): { id: string; header: Uint8Array; sizeBytes: number } {
    this.flush();
    const { memory } = this.#arena;
    memory.set(this.#header.subarray(0, this.#headerBytes), scratchAddress + 16);
    const sealedBytes = this.#cipher.seal(scratchAddress, this.#headerBytes);
    new DataView(memory.buffer).setUint32(scratchAddress + sealedBytes, sealedBytes, true);
    this.#write(scratchAddress, sealedBytes + 4);
    return { id: this.#hash.digest('hex'), header: this.header, sizeBytes: this.#sizeBytes + sealedBytes + 4 };
  }

  /** A copy of the header's plaintext so far. */
  get header(): Uint8Array {
    return Uint8Array.from(this.#header.subarray(0, this.#headerBytes));
  }

  /** What is in the region. */
  copyRegion(): Uint8Array {
    this.#seal();
    return this.#arena.memory.slice(this.regionAddress, this.nextAddress);
  }

  #seal(): void {
    this.#cipher.sealMany(this.#unsealed, this.#unsealedCount);
    this.#unsealedCount = 0;
  }

  #write(address: number, sizeBytes: number): void {
    if (sizeBytes === 0) return;
    const bytes = this.#arena.memory.subarray(address, address + sizeBytes);
    this.#hash.update(bytes);
    this.#output.append(bytes);
  }

  #note(id: Uint8Array, sealedBytes: number, plainBytes: number): void {
    this.#sizeBytes += sealedBytes;
    this.#blobCount++;
    if (this.#headerBytes + entryBytes > this.#header.length) {
      const larger = Buffer.allocUnsafeSlow(this.#header.length * 2);
      larger.set(this.#header);
      this.#header = larger;
    }
    let at = this.#headerBytes;
    at = this.#header.writeUInt8((this.type === 'tree' ? 1 : 0) | (plainBytes > 0 ? 2 : 0), at);
    at = this.#header.writeUInt32LE(sealedBytes, at);
    if (plainBytes > 0) at = this.#header.writeUInt32LE(plainBytes, at);
    this.#header.set(id, at);
    this.#headerBytes = at + id.length;
  }
}
