import { packName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobLocation } from './blob-index.ts';
import { isDamage } from './damage.ts';
import type { Repository } from './repository.ts';
import type { RestoreFile } from './restore-file.ts';
import { openBlob } from './sealed-blob.ts';
import { forEachConcurrently } from './slots.ts';

/** Blobs that are wanted, and where: what is read from the packs in one go. */
export class RestoreBatch {
  size = 0;
  readonly #packs = new Map<ObjectId, Map<number, WantedBlob>>();

  add(blob: BlobLocation, file: RestoreFile, positionBytes: number): void {
    let pack = this.#packs.get(blob.packId);
    if (pack === undefined) this.#packs.set(blob.packId, (pack = new Map()));
    let wanted = pack.get(blob.offset);
    if (wanted === undefined) pack.set(blob.offset, (wanted = { blob, uses: [] }));
    wanted.uses.push({ file, positionBytes });
    this.size++;
  }

  /** Reads and writes everything. Damage fails the files that it hits; `onBytes` hears of what was written. */
  async run(repository: Repository, signal: AbortSignal, onBytes: (bytes: number) => void): Promise<void> {
    const ranges = [...this.#packs].flatMap(([packId, blobs]) => mergeRanges(packId, [...blobs.values()]));
    await forEachConcurrently(ranges, concurrentReads, (range) => restoreRange(repository, range, signal, onBytes));
  }
}

interface WantedBlob {
  readonly blob: BlobLocation;
  readonly uses: { readonly file: RestoreFile; readonly positionBytes: number }[];
}

interface PackRange {
  readonly packId: ObjectId;
  readonly start: number;
  end: number;
  readonly wanted: WantedBlob[];
}

/** Reads at once, each of up to maxRangeBytes. */
const concurrentReads = 3;
/** Bounds the memory of a read, and lets the first blob be written soon. A single blob may be longer. */
const maxRangeBytes = 4 * 1024 * 1024;
/** Reading on over a gap is cheaper than asking again. */
const maxGapBytes = 64 * 1024;
/** Small files cost system calls, not bytes: their waits overlap. */
const concurrentWrites = 8;

function mergeRanges(packId: ObjectId, wanted: WantedBlob[]): PackRange[] {
  const ranges: PackRange[] = [];
  for (const next of wanted.toSorted((a, b) => a.blob.offset - b.blob.offset)) {
    const { offset, length } = next.blob;
    const last = ranges.at(-1);
    if (last !== undefined && offset - last.end <= maxGapBytes && offset + length - last.start <= maxRangeBytes) {
      last.end = offset + length;
      last.wanted.push(next);
    } else {
      ranges.push({ packId, start: offset, end: offset + length, wanted: [next] });
    }
  }
  return ranges;
}

async function restoreRange(
  repository: Repository,
  range: PackRange,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const { packId, start, end, wanted } = range;
  let bytes: Uint8Array;
  try {
    bytes = await repository.storage.get(packName(packId), { range: { offsetBytes: start, lengthBytes: end - start }, signal });
  } catch (error) {
    if (!isDamage(error)) throw error;
    for (const { uses } of wanted) for (const { file } of uses) await file.fail(error.message);
    return;
  }
  await forEachConcurrently(wanted, concurrentWrites, async ({ blob, uses }) => {
    signal.throwIfAborted();
    const plain = openOrReason(repository, bytes.subarray(blob.offset - start, blob.offset - start + blob.length), blob);
    for (const { file, positionBytes } of uses) {
      if (typeof plain === 'string') {
        await file.fail(plain);
      } else {
        await file.write(plain, positionBytes);
        onBytes(plain.length);
      }
    }
  });
}

function openOrReason(repository: Repository, sealed: Uint8Array, blob: BlobLocation): Uint8Array | string {
  try {
    return openBlob(repository.cipher, sealed, blob);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return `pack ${blob.packId}: ${error.message}`;
  }
}
