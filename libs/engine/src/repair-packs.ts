import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { IndexedPack } from '@holdfast/restic-format/index-file';
import { packName } from '@holdfast/restic-format/layout';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { openPackTail, packTailBytes, packTailLength, packTailSize, type PackedBlob } from '@holdfast/restic-format/pack';
import { isDamage } from './damage.ts';
import type { Repository } from './repository.ts';
import { openBlob } from './sealed-blob.ts';

/** What a pack in the storage is worth: whole with what is in it, or broken with what of it still opens. */
export type PackState =
  | { readonly kind: 'whole'; readonly pack: IndexedPack }
  | { readonly kind: 'broken'; readonly reason: string; readonly good: readonly PackedBlob[]; readonly badCount: number };

export interface StoredPack {
  readonly packId: ObjectId;
  readonly sizeBytes: number;
  /** What the index says lies in it; empty when it is in no index. */
  readonly indexed: readonly PackedBlob[];
}

/**
 * By the index where pack and index agree on the size, by the pack's own header where they do not, and by every blob when the header
 * says nothing either. Errors: those of the storage.
 */
export async function examinePack(repository: Repository, pack: StoredPack, signal: AbortSignal): Promise<PackState> {
  const { packId, sizeBytes, indexed } = pack;
  if (indexed.length > 0 && sizeBytes === expectedSize(indexed)) return { kind: 'whole', pack: { id: packId, blobs: indexed } };
  try {
    return { kind: 'whole', pack: { id: packId, blobs: await readHeader(repository, pack, signal) } };
  } catch (error) {
    if (!isDamage(error)) throw error;
    return await examineWholePack(repository, pack, signal);
  }
}

/** By all of its bytes: the hash in its name, its header, and each blob where these are not right. Errors: those of the storage. */
export async function examineWholePack(repository: Repository, { packId, indexed }: StoredPack, signal: AbortSignal): Promise<PackState> {
  let bytes: Uint8Array;
  try {
    bytes = await repository.storage.get(packName(packId), { signal });
  } catch (error) {
    if (!isDamage(error)) throw error;
    return { kind: 'broken', reason: error.message, good: [], badCount: indexed.length };
  }
  const header = headerOrReason(repository, bytes);
  const isNamedRight = hashOf(bytes) === packId;
  if (typeof header !== 'string' && isNamedRight) {
    const bad = header.find((blob) => !isWhole(repository, bytes, blob));
    if (bad === undefined) return { kind: 'whole', pack: { id: packId, blobs: header } };
  }
  const known = typeof header === 'string' ? indexed : header;
  const good: PackedBlob[] = [];
  for (const blob of known) {
    signal.throwIfAborted();
    if (isWhole(repository, bytes, blob)) good.push(blob);
    // Hashing half a gigabyte a second at best: a pause at each blob lets an abort through.
    await new Promise(setImmediate);
  }
  const reason =
    typeof header === 'string' ? header : isNamedRight ? 'a blob in it is damaged' : 'it does not have the content of its name';
  return { kind: 'broken', reason, good, badCount: known.length - good.length };
}

async function readHeader(repository: Repository, { packId, sizeBytes }: StoredPack, signal: AbortSignal): Promise<PackedBlob[]> {
  const readTail = async (wantedBytes: number): Promise<Uint8Array> => {
    const lengthBytes = Math.min(wantedBytes, sizeBytes);
    if (lengthBytes === 0) throw new HoldfastError('repository_damaged', `pack ${packId} is empty`);
    return await repository.storage.get(packName(packId), { range: { offsetBytes: sizeBytes - lengthBytes, lengthBytes }, signal });
  };
  let tail = await readTail(packTailBytes);
  const neededBytes = packTailLength(tail, sizeBytes);
  if (neededBytes > tail.length) tail = await readTail(neededBytes);
  return openPackTail(tail, sizeBytes, repository.cipher);
}

function headerOrReason({ cipher }: Repository, bytes: Uint8Array): PackedBlob[] | string {
  try {
    return openPackTail(bytes, bytes.length, cipher);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return `its header cannot be read: ${error.message}`;
  }
}

function isWhole({ cipher }: Repository, bytes: Uint8Array, blob: PackedBlob): boolean {
  try {
    openBlob(cipher, bytes.subarray(blob.offset, blob.offset + blob.length), blob);
    return true;
  } catch (error) {
    if (!isDamage(error)) throw error;
    return false;
  }
}

function expectedSize(blobs: readonly PackedBlob[]): number {
  return blobs.reduce((sum, blob) => sum + blob.length, packTailSize(blobs));
}
