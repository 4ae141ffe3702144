import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobType } from '@holdfast/restic-format/pack';
import type { BlobCounts, BlobSink, SavedBlob } from './blob-sink.ts';
import type { FileStorer, StoredFile, StoreOptions } from './file-storer.ts';
import { Slots } from './slots.ts';

/** A storer and the sink that it stores into. */
export type StoringSink = FileStorer & BlobSink;

export interface FewFilesOptions {
  /** Of this thread, into `packer`. */
  readonly storer: FileStorer;
  readonly packer: BlobSink;
  /** Called at most once. What it gives takes `packer` over, and finishes and settles it with itself. */
  readonly openThreads: () => StoringSink;
}

/** What is stored here before the threads are asked: about as much work as it is for them to begin. */
const maxFiles = 64;
const maxBytes = 1024 * 1024;
/** As many as hide the latency of a disk. */
const concurrentFiles = 4;

/**
 * Stores the first few files of a backup in this thread, and leaves the rest to threads. Many backups are no more than a few
 * changed files, and then the threads would only cost: their memory, their tables, their waking up.
 */
export class FewFiles implements FileStorer, BlobSink {
  readonly #options: FewFilesOptions;
  readonly #slots = new Slots(concurrentFiles);
  #fileCount = 0;
  #bytes = 0;
  #threads: StoringSink | undefined;

  constructor(options: FewFilesOptions) {
    this.#options = options;
  }

  get counts(): BlobCounts {
    return this.#sink.counts;
  }

  async store(path: string, options: StoreOptions): Promise<StoredFile> {
    this.#fileCount++;
    this.#bytes += options.sizeBytes;
    if (this.#threads === undefined && this.#fileCount <= maxFiles && this.#bytes <= maxBytes)
      return await this.#slots.run(() => this.#options.storer.store(path, options));
    this.#threads ??= this.#options.openThreads();
    return await this.#threads.store(path, options);
  }

  async save(type: BlobType, plain: Uint8Array): Promise<SavedBlob> {
    return await this.#sink.save(type, plain);
  }

  async saveSealed(type: BlobType, blob: { id: ObjectId; bytes: Uint8Array; uncompressedLength?: number }): Promise<void> {
    await this.#sink.saveSealed(type, blob);
  }

  async finish(): Promise<void> {
    await this.#sink.finish();
  }

  async settle(): Promise<void> {
    await this.#sink.settle();
  }

  get #sink(): BlobSink {
    return this.#threads ?? this.#options.packer;
  }
}
