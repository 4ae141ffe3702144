import type { ObjectId } from '@holdfast/restic-format/object-id';
import { objectIdBytes } from '@holdfast/restic-format/object-id';
import { withAttributes, type FileToStore, type StoredFile } from '../file-storer.ts';
import { skippedFile, type BatchAnswer, type FolderOfFiles } from './archive-calls.ts';

/** What one call stores: enough to make the call itself cheap, little enough for all threads to end at the same time. */
const maxBatchFiles = 128;
const maxBatchBytes = 2 * 1024 * 1024;

/** Files of one folder that go together, and who waits for them. */
export interface BatchRun {
  readonly folder: string;
  readonly files: readonly FileToStore[];
  readonly resolve: (stored: readonly StoredFile[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Small files on their way to one call. */
export class FileBatch {
  readonly runs: BatchRun[] = [];
  fileCount = 0;
  #bytes = 0;

  get isFull(): boolean {
    return this.fileCount >= maxBatchFiles || this.#bytes >= maxBatchBytes;
  }

  get folders(): FolderOfFiles[] {
    return this.runs.map(({ folder, files }) => ({ folder, names: files.map(({ name }) => name) }));
  }

  async add(folder: string, files: readonly FileToStore[]): Promise<readonly StoredFile[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly StoredFile[]>();
    this.runs.push({ folder, files, resolve, reject });
    this.fileCount += files.length;
    for (const { sizeBytes } of files) this.#bytes += sizeBytes;
    return await promise;
  }

  /** Tells each run what became of its files. */
  settle({ ids, blobCounts, sizesBytes, reasons, attributes }: BatchAnswer): void {
    const hex = hexOf(ids);
    let at = 0;
    let reason = 0;
    let nth = 0;
    for (const { files, resolve } of this.runs) {
      const stored: StoredFile[] = [];
      for (let left = files.length; left > 0; left--, nth++) {
        const count = blobCounts[nth] ?? skippedFile;
        if (count === skippedFile) stored.push({ kind: 'skipped', reason: reasons[reason++] ?? '' });
        else {
          const file = { kind: 'stored', content: sliceIds(hex, at, count), sizeBytes: sizesBytes[nth] ?? 0 } as const;
          stored.push(withAttributes(file, attributes.get(nth)));
          at += count;
        }
      }
      resolve(stored);
    }
  }

  fail(error: unknown): void {
    for (const { reject } of this.runs) reject(error);
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
