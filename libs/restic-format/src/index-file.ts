import type { Cipher } from './cipher.ts';
import { scanIndex, type IndexColumns } from './index-scan.ts';
import { JsonFields, parseJson } from './json-fields.ts';
import type { ObjectId } from './object-id.ts';
import type { BlobType, PackedBlob } from './pack.ts';
import { encodeUnpackedFile, openUnpackedFile } from './unpacked-file.ts';

/**
 * Index file: which blobs lie where in which packs, so that nobody has to read the headers of all packs. An unpacked file in `index/`:
 * {"packs":[{"id","blobs":[{"id","type","offset","length","uncompressed_length"?}]}]}. A repository's index is all of its index files.
 */
export interface IndexedPack {
  readonly id: ObjectId;
  readonly blobs: readonly PackedBlob[];
}

export interface IndexFile {
  readonly packs: readonly IndexedPack[];
  /** Index files that this one replaced. Old versions of restic wrote it; it is read and never written. */
  readonly supersedes?: readonly ObjectId[];
}

/** The format asks for files below 8 MiB. */
const maxFileBytes = 8 * 1024 * 1024;
/** What one entry takes at most, with ten digits for each number. */
const blobEntryBytes = 170;
const packEntryBytes = 90;

/** A file of restic may go on until a pack is whole: 50,000 blobs and those of the largest pack. Twice that bounds a forged one. */
const limitBytes = 160 * 1024 * 1024;

const maxUint32 = 2 ** 32 - 1;

/** The stored bytes; their hash is the index file's id. `supersedes` is left out. Keep files small with splitIndex. */
export function encodeIndexFile(index: IndexFile, cipher: Cipher): Uint8Array {
  return encodeUnpackedFile(`{"packs":[${index.packs.map(encodePack).join(',')}]}\n`, cipher, { compress: true });
}

const encodePack = (pack: IndexedPack): string => `{"id":"${pack.id}","blobs":[${pack.blobs.map(encodeBlob).join(',')}]}`;

function encodeBlob(blob: PackedBlob): string {
  const plain = blob.uncompressedLength === undefined ? '' : `,"uncompressed_length":${blob.uncompressedLength}`;
  return `{"id":"${blob.id}","type":"${blob.type}","offset":${blob.offset},"length":${blob.length}${plain}}`;
}

/** The inverse. Errors: repository_damaged; repository_unsupported for an encoding that this version does not know. */
export function decodeIndexFile(bytes: Uint8Array, cipher: Cipher): IndexFile {
  return decodeIndexJson(openUnpackedFile(bytes, cipher, 'an index', limitBytes));
}

/** As decodeIndexFile; in columns when the file is written in the usual way. */
export function decodeIndexColumns(bytes: Uint8Array, cipher: Cipher): { columns: IndexColumns } | { file: IndexFile } {
  const json = openUnpackedFile(bytes, cipher, 'an index', limitBytes);
  const columns = scanIndex(json);
  return columns === null ? { file: decodeIndexJson(json) } : { columns };
}

function decodeIndexJson(json: Uint8Array): IndexFile {
  const fields = new JsonFields(parseJson(json, 'an index'), 'an index');
  const packs = fields.array('packs').map(decodePack);
  return fields.has('supersedes') ? { packs, supersedes: fields.ids('supersedes') } : { packs };
}

function decodePack(value: unknown): IndexedPack {
  const fields = new JsonFields(value, 'a pack of an index');
  return { id: fields.id('id'), blobs: fields.array('blobs').map(decodeBlob) };
}

function decodeBlob(value: unknown): PackedBlob {
  const fields = new JsonFields(value, 'a blob of an index');
  const blob = {
    id: fields.id('id'),
    type: decodeType(fields),
    offset: fields.uint('offset', maxUint32),
    length: fields.uint('length', maxUint32),
  };
  const uncompressedLength = fields.uint('uncompressed_length', maxUint32);
  return uncompressedLength === 0 ? blob : { ...blob, uncompressedLength };
}

function decodeType(fields: JsonFields): BlobType {
  const type = fields.string('type');
  if (type !== 'data' && type !== 'tree') throw fields.damaged('type', 'a blob type');
  return type;
}

/** The packs in their order, in groups that each make an index file below 8 MiB. A pack is never split: a huge one stands alone. */
export function splitIndex(packs: readonly IndexedPack[]): IndexedPack[][] {
  const groups: IndexedPack[][] = [];
  let group: IndexedPack[] = [];
  let groupBytes = 0;
  for (const pack of packs) {
    const packBytes = packEntryBytes + pack.blobs.length * blobEntryBytes;
    if (group.length > 0 && groupBytes + packBytes > maxFileBytes) {
      groups.push(group);
      group = [];
      groupBytes = 0;
    }
    group.push(pack);
    groupBytes += packBytes;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}
