import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';

import { overheadBytes, type Cipher } from './cipher.ts';
import { objectIdBytes, type ObjectId } from './object-id.ts';

/**
 * Pack: sealed blobs one behind the other, the sealed header, its length (u32). A header entry, integers little-endian:
 * type u8 (0 data, 1 tree, 2 compressed data, 3 compressed tree) ‖ sealed length u32 ‖ [plain length u32, types 2 and 3] ‖ id, 32 bytes.
 * Where a blob begins follows from the lengths before it. Data and tree blobs go to separate packs.
 */
export type BlobType = 'data' | 'tree';

export interface PackedBlob {
  /** The hash of the plaintext. */
  readonly id: ObjectId;
  readonly type: BlobType;
  /** Where the sealed blob begins in its pack, and how many bytes it has there. */
  readonly offset: number;
  readonly length: number;
  /** Bytes of the plaintext; present when the blob is compressed, and only then. */
  readonly uncompressedLength?: number;
}

const lengthBytes = 4;
const plainEntryBytes = 1 + lengthBytes + objectIdBytes;
const compressedEntryBytes = plainEntryBytes + lengthBytes;
const treeBit = 1;
const compressedBit = 2;

/** restic reads no longer header. It is room for some 400,000 blobs, with which a pack has to end. */
const maxSealedHeaderBytes = 16 * 1024 * 1024;
export const maxPackBlobCount = Math.floor((maxSealedHeaderBytes - overheadBytes) / compressedEntryBytes);

/** Read this much of a pack's end first: it holds the header of up to 98 blobs, which is most packs of data. */
export const packTailBytes = 4096;

/** How many bytes a pack's header adds to its blobs. */
export function packTailSize(blobs: readonly Pick<PackedBlob, 'uncompressedLength'>[]): number {
  return headerSize(blobs) + overheadBytes + lengthBytes;
}

function headerSize(blobs: readonly Pick<PackedBlob, 'uncompressedLength'>[]): number {
  return blobs.reduce((sum, blob) => sum + (blob.uncompressedLength === undefined ? plainEntryBytes : compressedEntryBytes), 0);
}

/** The header's plaintext. `blobs` are all blobs of the pack, in their order. Errors: internal when their offsets leave gaps. */
export function encodePackHeader(blobs: readonly PackedBlob[]): Uint8Array {
  const header = Buffer.alloc(headerSize(blobs));
  let at = 0;
  let offset = 0;
  for (const blob of blobs) {
    invariant(blob.offset === offset, 'the blobs of a pack do not follow each other');
    const isCompressed = blob.uncompressedLength !== undefined;
    at = header.writeUInt8((blob.type === 'tree' ? treeBit : 0) | (isCompressed ? compressedBit : 0), at);
    at = header.writeUInt32LE(blob.length, at);
    if (isCompressed) at = header.writeUInt32LE(blob.uncompressedLength, at);
    at += header.write(blob.id, at, 'hex');
    offset += blob.length;
  }
  return header;
}

/** Called for an entry of a pack's header. `plainLength` is null for a blob that is not compressed; the id is 32 bytes of the header at `idAt`. */
export type OnHeaderEntry = (offset: number, length: number, plainLength: number | null, isTree: boolean, idAt: number) => void;

/**
 * Goes through the plaintext of a header; returns the bytes of all blobs. Errors: repository_damaged for an unknown type, a cut entry or a
 * length that no sealed blob has.
 */
export function readPackHeader(header: Uint8Array, onEntry: OnHeaderEntry): number {
  const bytes = Buffer.from(header.buffer, header.byteOffset, header.byteLength);
  let offset = 0;
  for (let at = 0; at < bytes.length;) {
    const code = bytes[at] ?? 0;
    const isCompressed = (code & compressedBit) !== 0;
    const entryBytes = isCompressed ? compressedEntryBytes : plainEntryBytes;
    if (code > (treeBit | compressedBit)) throw damaged(`a pack header has the unknown blob type ${code}`);
    if (at + entryBytes > bytes.length) throw damaged('a pack header ends within an entry');
    const length = bytes.readUInt32LE(at + 1);
    if (length < overheadBytes) throw damaged(`a pack header has a sealed blob of ${length} bytes`);
    const plainLength = isCompressed ? bytes.readUInt32LE(at + 1 + lengthBytes) : null;
    onEntry(offset, length, plainLength, (code & treeBit) !== 0, at + entryBytes - objectIdBytes);
    offset += length;
    at += entryBytes;
  }
  return offset;
}

/** The inverse of encodePackHeader. Errors: as readPackHeader. */
export function decodePackHeader(header: Uint8Array): PackedBlob[] {
  const bytes = Buffer.from(header.buffer, header.byteOffset, header.byteLength);
  const blobs: PackedBlob[] = [];
  readPackHeader(header, (offset, length, plainLength, isTree, idAt) => {
    const id = bytes.toString('hex', idAt, idAt + objectIdBytes);
    const uncompressed = plainLength === null ? {} : { uncompressedLength: plainLength };
    blobs.push({ id, type: isTree ? 'tree' : 'data', offset, length, ...uncompressed });
  });
  return blobs;
}

/** What follows the blobs in a pack: the sealed header and its length. Errors: internal for no blob or more than maxPackBlobCount. */
export function sealPackTail(blobs: readonly PackedBlob[], cipher: Cipher): Uint8Array {
  invariant(blobs.length > 0 && blobs.length <= maxPackBlobCount, `a pack cannot hold ${blobs.length} blobs`);
  const sealed = cipher.seal(encodePackHeader(blobs));
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32LE(sealed.length);
  return Buffer.concat([sealed, length]);
}

/**
 * How many bytes at the end of a pack are its header and the length behind it. `tail` is the pack's last bytes, at least four.
 * Errors: repository_damaged when a pack of `packSizeBytes` cannot have such a header.
 */
export function packTailLength(tail: Uint8Array, packSizeBytes: number): number {
  if (tail.length < lengthBytes || tail.length > packSizeBytes) throw damaged(`a pack of ${packSizeBytes} bytes is too short`);
  const sealedBytes = Buffer.from(tail.buffer, tail.byteOffset, tail.byteLength).readUInt32LE(tail.length - lengthBytes);
  const isPossible = sealedBytes >= overheadBytes + plainEntryBytes && sealedBytes <= maxSealedHeaderBytes;
  if (!isPossible || sealedBytes + lengthBytes > packSizeBytes) {
    throw damaged(`a pack of ${packSizeBytes} bytes claims a header of ${sealedBytes} bytes`);
  }
  return sealedBytes + lengthBytes;
}

/**
 * The blobs of a pack, from its last bytes, at least packTailLength of them. Errors: repository_damaged, also when the blobs do not
 * fill the pack exactly up to its header.
 */
export function openPackTail(tail: Uint8Array, packSizeBytes: number, cipher: Cipher): PackedBlob[] {
  return decodePackHeader(openPackHeader(tail, packSizeBytes, cipher));
}

/** The plaintext of a pack's header, which readPackHeader takes without an error. Arguments and errors: as openPackTail. */
export function openPackHeader(tail: Uint8Array, packSizeBytes: number, cipher: Cipher): Uint8Array {
  const tailLength = packTailLength(tail, packSizeBytes);
  invariant(tail.length >= tailLength, 'the tail of a pack does not reach its header');
  const header = cipher.open(tail.subarray(tail.length - tailLength, tail.length - lengthBytes));
  const blobBytes = readPackHeader(header, () => {});
  if (blobBytes + tailLength !== packSizeBytes) {
    throw damaged(`a pack of ${packSizeBytes} bytes lists blobs of ${blobBytes} and a header of ${tailLength} bytes`);
  }
  return header;
}

const damaged = (message: string): HoldfastError => new HoldfastError('repository_damaged', message);
