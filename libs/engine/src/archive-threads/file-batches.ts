import type { ObjectId } from '@holdfast/restic-format/object-id';
import { objectIdBytes } from '@holdfast/restic-format/object-id';
import { withAttributes, type StoredFile } from '../file-storer.ts';
import { skippedFile, type BatchAnswer } from './archive-calls.ts';

/** What one call stores: enough to make the call itself cheap, little enough for all threads to end at the same time. */
const maxBatchFiles = 256;
const maxBatchBytes = 4 * 1024 * 1024;

export interface BatchFile {
  readonly folder: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly resolve: (stored: StoredFile) => void;
  readonly reject: (error: unknown) => void;
}

/** Small files on their way to one call. */
export class FileBatch {
  readonly folders: { folder: string; names: string[] }[] = [];
  readonly #files: BatchFile[] = [];
  #bytes = 0;

  get fileCount(): number {
    return this.#files.length;
  }

  get isFull(): boolean {
    return this.#files.length >= maxBatchFiles || this.#bytes >= maxBatchBytes;
  }

  async add(folder: string, name: string, sizeBytes: number): Promise<StoredFile> {
    const last = this.folders.at(-1);
    if (last?.folder === folder) last.names.push(name);
    else this.folders.push({ folder, names: [name] });
    this.#bytes += sizeBytes;
    const { promise, resolve, reject } = Promise.withResolvers<StoredFile>();
    this.#files.push({ folder, name, sizeBytes, resolve, reject });
    return await promise;
  }

  get files(): readonly BatchFile[] {
    return this.#files;
  }

  /** Tells each file what became of it. */
  settle({ ids, blobCounts, sizesBytes, reasons, attributes }: BatchAnswer): void {
    const hex = hexOf(ids);
    let at = 0;
    let reason = 0;
    for (const [nth, { resolve }] of this.#files.entries()) {
      const count = blobCounts[nth] ?? skippedFile;
      if (count === skippedFile) resolve({ kind: 'skipped', reason: reasons[reason++] ?? '' });
      else {
        resolve(
          withAttributes({ kind: 'stored', content: sliceIds(hex, at, count), sizeBytes: sizesBytes[nth] ?? 0 }, attributes.get(nth)),
        );
        at += count;
      }
    }
  }

  fail(error: unknown): void {
    for (const { reject } of this.#files) reject(error);
  }
}

const idDigits = objectIdBytes * 2;

export function idsOf(bytes: Uint8Array): ObjectId[] {
  return sliceIds(hexOf(bytes), 0, bytes.length / objectIdBytes);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

function sliceIds(hex: string, first: number, count: number): ObjectId[] {
  const ids: ObjectId[] = [];
  for (let nth = first; nth < first + count; nth++) ids.push(hex.slice(nth * idDigits, (nth + 1) * idDigits));
  return ids;
}
