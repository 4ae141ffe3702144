import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { FoundAttributes } from '@holdfast/sources/extended-attributes';
import type { Source, SourceFile } from '@holdfast/sources/source';
import { withAttributes, type FileStorer, type StoredFile, type StoreOptions } from '../file-storer.ts';
import { ChunkStream, type ChunkStreamOptions, type StreamedFile } from './chunk-stream.ts';

/** Stores files that only this thread can read, in order: it cuts them, the rest is the threads' work. */
export class StreamedFiles implements FileStorer {
  readonly #source: Source;
  readonly #options: ChunkStreamOptions;
  readonly #idle: ChunkStream[] = [];

  constructor(source: Source, options: ChunkStreamOptions) {
    this.#source = source;
    this.#options = options;
  }

  async store(path: string, { onBytes }: StoreOptions): Promise<StoredFile> {
    try {
      const { sizeBytes, content, attributes } = await this.#readWhole(path, onBytes);
      return withAttributes({ kind: 'stored', content: await content, sizeBytes }, attributes);
    } catch (error) {
      if (isHoldfastError(error, 'path_not_found') || isHoldfastError(error, 'path_not_readable'))
        return { kind: 'skipped', reason: error.message };
      throw error;
    }
  }

  /** When it returns the file is closed: what it was read from may be needed for the next one. */
  async #readWhole(path: string, onBytes: (bytes: number) => void): Promise<StreamedFile & { attributes: FoundAttributes | undefined }> {
    const file = await this.#source.openFile(path);
    try {
      return { ...(await this.#read(file, onBytes)), attributes: file.readAttributes?.() };
    } finally {
      await file.close();
    }
  }

  async #read(file: SourceFile, onBytes: (bytes: number) => void): Promise<StreamedFile> {
    const stream = this.#idle.pop() ?? new ChunkStream(this.#options);
    try {
      const streamed = await stream.add((into, positionBytes) => file.read(into, positionBytes), { onBytes });
      await stream.flush();
      return streamed;
    } finally {
      this.#idle.push(stream);
    }
  }
}
