import { packName } from '@holdfast/restic-format/layout';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { openPackTail, type PackedBlob } from '@holdfast/restic-format/pack';
import { isDamage } from './damage.ts';
import type { FindingList } from './finding-list.ts';
import type { Repository } from './repository.ts';
import { openBlob } from './sealed-blob.ts';

export interface CheckedPack {
  readonly bytesRead: number;
  readonly blobsChecked: number;
}

/**
 * Reads a pack and checks all of it: its hash, its header, every blob. `indexed` is what the index says lies in it; empty for a
 * pack that is in no index, whose damage costs nothing and is a warning.
 */
export async function checkPack(
  repository: Repository,
  packId: ObjectId,
  indexed: readonly PackedBlob[],
  findings: FindingList,
  signal: AbortSignal,
): Promise<CheckedPack> {
  const objectName = packName(packId);
  const severity = indexed.length === 0 ? 'warning' : 'damage';
  let bytes: Uint8Array;
  try {
    bytes = await repository.storage.get(objectName, { signal });
  } catch (error) {
    if (!isDamage(error)) throw error;
    findings.add({ kind: 'pack_missing', severity, message: error.message, objectName, packId, hitsWholePack: true });
    return { bytesRead: 0, blobsChecked: 0 };
  }
  if (hashOf(bytes) !== packId) {
    findings.add({
      kind: 'object_hash_wrong',
      severity,
      message: `${objectName} does not have the content that its name says`,
      objectName,
      packId,
    });
  }
  const header = readHeader(repository, packId, bytes, severity, findings);
  const blobs = indexed.length > 0 ? indexed : header;
  if (indexed.length > 0 && header.length > 0) compareWithIndex(packId, header, indexed, findings);
  for (const blob of blobs) {
    signal.throwIfAborted();
    checkBlob(repository, packId, bytes, blob, severity, findings);
    // Half a gigabyte a second is hashed at best: a pause at each blob lets an abort through.
    await new Promise(setImmediate);
  }
  return { bytesRead: bytes.length, blobsChecked: blobs.length };
}

function readHeader(
  repository: Repository,
  packId: ObjectId,
  bytes: Uint8Array,
  severity: 'damage' | 'warning',
  findings: FindingList,
): PackedBlob[] {
  try {
    return openPackTail(bytes, bytes.length, repository.cipher);
  } catch (error) {
    if (!isDamage(error)) throw error;
    const message = `the header of pack ${packId} cannot be read: ${error.message}`;
    findings.add({ kind: 'pack_header_wrong', severity, message, objectName: packName(packId), packId });
    return [];
  }
}

function compareWithIndex(packId: ObjectId, header: readonly PackedBlob[], indexed: readonly PackedBlob[], findings: FindingList): void {
  const inPack = new Set(header.map(describe));
  const objectName = packName(packId);
  for (const blob of indexed) {
    if (inPack.delete(describe(blob))) continue;
    const message = `the index has ${blob.type} blob ${blob.id} in pack ${packId} otherwise than the pack's own header`;
    findings.add({ kind: 'index_entry_wrong', severity: 'damage', message, objectName, packId });
  }
  if (inPack.size === 0) return;
  const message = `${inPack.size} blobs of pack ${packId} are in no index`;
  findings.add({ kind: 'index_entry_wrong', severity: 'warning', message, objectName, packId });
}

function checkBlob(
  repository: Repository,
  packId: ObjectId,
  bytes: Uint8Array,
  blob: PackedBlob,
  severity: 'damage' | 'warning',
  findings: FindingList,
): void {
  try {
    openBlob(repository.cipher, bytes.subarray(blob.offset, blob.offset + blob.length), blob);
  } catch (error) {
    if (!isDamage(error)) throw error;
    const message = `${blob.type} blob ${blob.id} in pack ${packId} is damaged: ${error.message}`;
    findings.add({ kind: 'blob_damaged', severity, message, objectName: packName(packId), packId, blobId: blob.id, blobType: blob.type });
  }
}

function describe({ id, type, offset, length, uncompressedLength = 0 }: PackedBlob): string {
  return `${type} ${id} ${offset} ${length} ${uncompressedLength}`;
}
