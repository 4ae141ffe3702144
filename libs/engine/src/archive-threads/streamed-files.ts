import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { FoundAttributes } from '@holdfast/sources/extended-attributes';
import type { Source, SourceFile } from '@holdfast/sources/source';
import { withAttributes, type FileStorer, type StoredFile, type StoreOptions } from '../file-storer.ts';
import { keepKnown } from '../continued-file.ts';
import { FileCutter } from '../file-cutter.ts';
import { ChunkStream, type ChunkStreamOptions, type StreamedFile } from './chunk-stream.ts';

/** Stores files that only this thread can read, in order: it cuts them, the rest is the threads' work. */
export class StreamedFiles implements FileStorer {
  readonly #source: Source;
  readonly #options: ChunkStreamOptions;
  readonly #recordKey: bigint;
  readonly #idle: Lane[] = [];

  constructor(source: Source, options: ChunkStreamOptions, recordKey: bigint) {
    this.#source = source;
    this.#options = options;
    this.#recordKey = recordKey;
  }

  async store(path: string, options: StoreOptions): Promise<StoredFile> {
    try {
      const { sizeBytes, content, attributes } = await this.#readWhole(path, options);
      return withAttributes({ kind: 'stored', content: await content, sizeBytes }, attributes);
    } catch (error) {
      if (isHoldfastError(error, 'path_not_found') || isHoldfastError(error, 'path_not_readable'))
        return { kind: 'skipped', reason: error.message };
      throw error;
    }
  }

  /** When it returns the file is closed: what it was read from may be needed for the next one. */
  async #readWhole(path: string, options: StoreOptions): Promise<StreamedFile & { attributes: FoundAttributes | undefined }> {
    const file = await this.#source.openFile(path, { recordKey: this.#recordKey });
    try {
      return { ...(await this.#readFile(file, options)), attributes: file.readAttributes?.() };
    } finally {
      await file.close();
    }
  }

  async #readFile(file: SourceFile, { onBytes, known, sizeBytes }: StoreOptions): Promise<StreamedFile> {
    const kept = await keepKnown(file, known, sizeBytes);
    if (kept === null) return await this.#readFrom(file, 0, onBytes);
    onBytes(kept.sizeBytes);
    const rest = await this.#readFrom(file, kept.sizeBytes, onBytes);
    const content = rest.content.then((ids) => [...kept.content, ...ids]);
    // Whoever waits for the file hears of a failure.
    content.catch(() => {});
    return { sizeBytes: kept.sizeBytes + rest.sizeBytes, content };
  }

  async #readFrom(file: SourceFile, fromByte: number, onBytes: (bytes: number) => void): Promise<StreamedFile> {
    const lane = this.#idle.pop() ?? this.#openLane();
    const { stream, cutter } = lane;
    cutter.begin(file.chosenEnds);
    try {
      const streamed = await stream.add((into, positionBytes) => file.read(into, fromByte + positionBytes), { onBytes });
      await stream.flush();
      return streamed;
    } finally {
      this.#idle.push(lane);
    }
  }

  #openLane(): Lane {
    const cutter = new FileCutter(this.#options.chunker);
    return { cutter, stream: new ChunkStream({ ...this.#options, chunker: cutter }) };
  }
}

/** One file at a time. */
interface Lane {
  readonly stream: ChunkStream;
  readonly cutter: FileCutter;
}
