import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { overheadBytes } from '@holdfast/restic-format/cipher';
import { createChunker } from '@holdfast/restic-format/chunker';
import type { CompressionMode } from '@holdfast/restic-format/compression';
import { packName } from '@holdfast/restic-format/layout';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { decodePackHeader, type BlobType } from '@holdfast/restic-format/pack';
import type { Source } from '@holdfast/sources/source';
import { posix } from 'node:path';
import type { ChunkInspection } from '../archive-stream/chunk-inspection.ts';
import type { BlobIndex } from '../blob-index.ts';
import { createBlockingStorer } from '../blocking-storer.ts';
import type { BlobCounts, BlobSink, SavedBlob } from '../blob-sink.ts';
import type { Clock } from '../clock.ts';
import { createFileStorer, type FileStorer, type FileToStore, type StoredFile, type StoreOptions } from '../file-storer.ts';
import { createIndexWriter } from '../index-writer.ts';
import { createPacker } from '../packer.ts';
import type { Repository } from '../repository.ts';
import { plainLengthOf } from '../sealed-blob.ts';
import { makeSharedClaims, openBlobClaims, type SharedClaims } from '../threads/blob-claims.ts';
import { giveBackPieces } from '../threads/piece-memory.ts';
import type { ThreadGroup } from '../threads/thread-group.ts';
import type { ThreadPool } from '../threads/thread-pool.ts';
import { counters, type ArchiveCall, type ArchiveEvent, type ArchiveThreadData, type PackRest } from './archive-calls.ts';
import { CallQueue } from './call-queue.ts';
import { ChunkBuffers } from './chunk-buffers.ts';
import type { ChunkStreamOptions, ChunksToStore, StoredChunks } from './chunk-stream.ts';
import { FileBatch, idsOf, type BatchRun } from './file-batches.ts';
import { LargeFiles } from './large-files.ts';
import { TreeBatches } from './tree-batches.ts';

export interface ArchiveThreadsOptions {
  readonly pool: ThreadPool;
  readonly source: Pick<Source, 'openFile'>;
  readonly repository: Repository;
  readonly index: BlobIndex;
  readonly compression: CompressionMode;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** See Source.holdsRecords. */
  readonly holdsRecords?: boolean | undefined;
  /** Of chunks that come in buffers. */
  readonly inspection?: ChunkInspection | undefined;
}

/** What the threads load. */
export const archiveModule = new URL('archive-session.ts', import.meta.url);

/** Larger files are read by a thread of their own. */
const largeFileBytes = 8 * 1024 * 1024;
/** Beyond so many small files threads are worth their start, which takes as long as storing some hundred files here. */
const maxFilesHere = 256;
/** The same of chunks in memory: less than what a longer stream sends at once. */
const maxBytesHere = 2 * 1024 * 1024;
/** Packs that were handed over and are on their way, each up to 24 MiB of memory. A third one made no backup faster that was measured. */
const maxUploads = 2;

/**
 * Leads the threads of a backup. As a FileStorer it deals files out to them, as a BlobSink it takes trees: their ids are made here,
 * since the folders above wait for them; the rest of the work is the threads'.
 */
export class ArchiveThreads implements FileStorer, BlobSink {
  readonly counts: BlobCounts = { dataBlobs: 0, treeBlobs: 0, addedBytes: 0, addedPackedBytes: 0, packBytes: 0 };
  readonly #options: ArchiveThreadsOptions;
  readonly #indexWriter;
  readonly #counters = new Int32Array(new SharedArrayBuffer(counters.count * Int32Array.BYTES_PER_ELEMENT));
  /** Puts the rests of the threads together. */
  readonly #restPacker: BlobSink;
  /** Stores small files while there are few. */
  readonly #storeHere: FileStorer;
  readonly #idsHere = new Set<ObjectId>();
  #filesHereCount = 0;
  #bytesHere = 0;
  #storedHere: Promise<unknown> = Promise.resolve();
  #dueFileCount = 0;
  readonly #trees: TreeBatches;
  readonly #landings = new Set<Promise<void>>();
  #threads: { group: ThreadGroup; queue: CallQueue; large: LargeFiles } | undefined;
  #batch = new FileBatch();
  #isBatchDue = false;
  #failure: { error: unknown } | undefined;

  constructor(options: ArchiveThreadsOptions) {
    this.#options = options;
    const { repository, clock, signal, index } = options;
    // For the other calls that share the index; the threads of this one know by their claims.
    this.#indexWriter = createIndexWriter(repository, clock, signal, (packs) => {
      for (const pack of packs) index.add(pack);
    });
    this.#restPacker = createPacker(options);
    const sink = this.#restPacker;
    const others = createFileStorer({ source: options.source, sink, polynomial: repository.chunkerPolynomial });
    this.#storeHere = createBlockingStorer({ sink, others });
    this.#trees = new TreeBatches({ index, call: (call, isFull) => this.#callTrees(call, isFull) });
    Atomics.store(this.#counters, counters.uploadPlaces, maxUploads);
  }

  async store(path: string, { sizeBytes, ...call }: StoreOptions): Promise<StoredFile> {
    const [stored] = await this.storeRun(posix.dirname(path), [{ name: posix.basename(path), sizeBytes }], call);
    invariant(stored !== undefined, 'a file has an answer');
    return stored;
  }

  async storeRun(folder: string, files: readonly FileToStore[], call: Omit<StoreOptions, 'sizeBytes'>): Promise<readonly StoredFile[]> {
    this.#throwIfFailed();
    const { onBytes } = call;
    if (files.some(({ sizeBytes }) => sizeBytes > largeFileBytes)) {
      const { large } = this.#open();
      return await Promise.all(files.map(({ name }) => large.store(folder, name, onBytes)));
    }
    const stored = this.#batch.add(folder, files);
    if (this.#batch.isFull) this.#sendBatch();
    else if (!this.#isBatchDue) {
      this.#isBatchDue = true;
      this.#dueFileCount = this.#batch.fileCount;
      setImmediate(() => this.#onDue());
    }
    const results = await stored;
    for (const result of results) if (result.kind === 'stored') onBytes(result.sizeBytes);
    return results;
  }

  /** For streams that this thread reads and cuts. */
  get chunkStreamOptions(): ChunkStreamOptions {
    const { pool, repository, signal } = this.#options;
    return {
      chunker: createChunker(repository.chunkerPolynomial),
      buffers: new ChunkBuffers(pool.concurrency, signal),
      store: (chunks) => this.#storeChunks(chunks),
      signal,
    };
  }

  async #storeChunks(chunks: ChunksToStore): Promise<StoredChunks> {
    this.#throwIfFailed();
    const { buffer, lengths, subjects } = chunks;
    if (this.#threads === undefined && subjects === null && this.#mayStayHere(lengths)) {
      const stored = this.#storeChunksHere(buffer, lengths);
      this.#storedHere = Promise.allSettled([this.#storedHere, stored]);
      return { ids: await stored, buffer, reports: [] };
    }
    // What is stored here is to be known when the threads begin.
    await this.#storedHere;
    const answer = await this.#open().queue.call('chunks', { kind: 'chunks', ...chunks }, [buffer.buffer]);
    return { ids: idsOf(answer.ids), buffer: answer.buffer, reports: answer.reports };
  }

  async save(type: BlobType, plain: Uint8Array): Promise<SavedBlob> {
    this.#throwIfFailed();
    const id = hashOf(plain);
    return { id, isNew: await this.#trees.save(id, plain, () => this.#restPacker.save(type, plain)) };
  }

  async saveSealed(type: BlobType, blob: { id: ObjectId; bytes: Uint8Array; uncompressedLength?: number }): Promise<void> {
    await this.#restPacker.saveSealed(type, blob);
  }

  async finish(): Promise<void> {
    await this.#trees.flush();
    if (this.#threads !== undefined) {
      const rests = await this.#threads.queue.callAll({ kind: 'finish' });
      for (const rest of rests.flat()) await this.#takeRest(rest);
    }
    await this.#settleLandings();
    this.#throwIfFailed();
    await this.#restPacker.finish();
    const { dataBlobs, treeBlobs, addedBytes, addedPackedBytes, packBytes } = this.#restPacker.counts;
    this.#addCounts({ dataBlobs, treeBlobs, addedBytes, addedPackedBytes, packBytes });
    await this.#indexWriter.finish();
  }

  async settle(): Promise<void> {
    await this.#threads?.group.close();
    await this.#settleLandings();
    await this.#restPacker.settle();
  }

  /** The threads begin with the first work for them: a backup in which nothing has changed does without. */
  #open(): { group: ThreadGroup; queue: CallQueue; large: LargeFiles } {
    return (this.#threads ??= this.#openGroup());
  }

  #openGroup(): { group: ThreadGroup; queue: CallQueue; large: LargeFiles } {
    const { pool, repository, index, compression, holdsRecords = false, signal, inspection } = this.#options;
    const data: ArchiveThreadData = {
      masterKeys: repository.masterKeys,
      chunkerPolynomial: repository.chunkerPolynomial,
      compression,
      holdsRecords,
      index: index.share(),
      claims: this.#claims(),
      storage: repository.storage.threadOptions ?? null,
      counters: this.#counters.buffer,
      inspector: inspection?.module.href ?? null,
    };
    const group = pool.openGroup<ArchiveEvent>({ module: archiveModule, data, signal, onEvent: (event) => this.#onEvent(event) });
    const queue = new CallQueue(group, () => this.#onIdle());
    return { group, queue, large: new LargeFiles(queue) };
  }

  /** What was stored here is taken. */
  #claims(): SharedClaims {
    const shared = makeSharedClaims();
    const claims = openBlobClaims(shared);
    for (const id of this.#idsHere) claims.claim(new Uint8Array(Buffer.from(id, 'hex')));
    return shared;
  }

  #onEvent(event: ArchiveEvent): void {
    if (event.kind === 'pack') {
      const landing = this.#land(event).catch((error: unknown) => {
        this.#failure ??= { error: asHoldfastError(error) };
      });
      this.#landings.add(landing);
      void landing.then(() => this.#landings.delete(landing));
    } else if (event.kind === 'group') this.#threads?.large.onGroup(event);
    else this.#threads?.large.onBytes(event);
  }

  async #land({ id, header, sizeBytes, pieces }: ArchiveEvent & { kind: 'pack' }): Promise<void> {
    if (pieces !== null) {
      const { repository, signal } = this.#options;
      try {
        if (this.#failure === undefined) {
          await repository.storage.put(packName(id), pieces.parts, { signal, sha256: id });
          // After a failure a connection may still read them.
          giveBackPieces(pieces);
        }
      } finally {
        Atomics.add(this.#counters, counters.uploadPlaces, 1);
        Atomics.notify(this.#counters, counters.uploadPlaces);
      }
    }
    const blobs = decodePackHeader(header);
    this.#addCounts(countsOf(blobs, sizeBytes));
    await this.#indexWriter.add({ id, blobs });
  }

  async #takeRest({ header, blobs }: PackRest): Promise<void> {
    const entries = decodePackHeader(header);
    this.#addCounts(countsOf(entries, 0));
    for (const { id, type, offset, length, uncompressedLength } of entries) {
      const bytes = blobs.subarray(offset, offset + length);
      await this.#restPacker.saveSealed(type, { id, bytes, ...(uncompressedLength === undefined ? {} : { uncompressedLength }) });
    }
  }

  /** What has gathered goes out when a thread has nothing better to do; or is stored here when it is all that there is for now. */
  #onDue(): void {
    this.#isBatchDue = false;
    const { fileCount } = this.#batch;
    if (fileCount === 0) return;
    if (this.#threads !== undefined || this.#filesHereCount >= maxFilesHere) {
      if (this.#open().queue.roomCount > 0) this.#sendBatch();
    } else if (fileCount === this.#dueFileCount) void this.#storeBatchHere();
    else {
      this.#isBatchDue = true;
      this.#dueFileCount = fileCount;
      setImmediate(() => this.#onDue());
    }
  }

  async #storeBatchHere(): Promise<void> {
    const { runs, fileCount } = this.#batch;
    this.#batch = new FileBatch();
    this.#filesHereCount += fileCount;
    for (const run of runs) {
      try {
        run.resolve(await this.#storeRunHere(run));
      } catch (error) {
        run.reject(error);
      }
    }
  }

  async #storeRunHere({ folder, files }: BatchRun): Promise<StoredFile[]> {
    const { signal } = this.#options;
    const results: StoredFile[] = [];
    for (const { name, sizeBytes } of files) {
      const stored = await this.#storeHere.store(posix.join(folder, name), { signal, onBytes: () => {}, sizeBytes });
      if (stored.kind === 'stored') for (const id of stored.content) this.#idsHere.add(id);
      results.push(stored);
    }
    return results;
  }

  #mayStayHere(lengths: Uint32Array): boolean {
    this.#filesHereCount += lengths.length;
    for (const length of lengths) this.#bytesHere += length;
    return this.#filesHereCount <= maxFilesHere && this.#bytesHere <= maxBytesHere;
  }

  async #storeChunksHere(buffer: Uint8Array, lengths: Uint32Array): Promise<ObjectId[]> {
    const ids: ObjectId[] = [];
    let at = 0;
    for (const length of lengths) {
      const { id } = await this.#restPacker.save('data', buffer.subarray(at, at + length));
      this.#idsHere.add(id);
      ids.push(id);
      at += length;
    }
    return ids;
  }

  async #callTrees(call: ArchiveCall & { kind: 'trees' }, isFull: boolean): Promise<void> {
    if (this.#threads !== undefined || isFull) {
      await this.#open().queue.call('trees', call);
      return;
    }
    let at = 0;
    for (const length of call.lengths) {
      await this.#restPacker.save('tree', call.bytes.subarray(at, at + length));
      at += length;
    }
  }

  #onIdle(): void {
    if (this.#batch.fileCount > 0) this.#sendBatch();
    Atomics.store(this.#counters, counters.wantedGroups, Math.max(0, this.#threads?.queue.roomCount ?? 0));
  }

  #sendBatch(): void {
    const batch = this.#batch;
    this.#batch = new FileBatch();
    this.#open()
      .queue.call('batch', { kind: 'batch', folders: batch.folders })
      .then(
        (answer) => batch.settle(answer),
        (error: unknown) => batch.fail(error),
      );
  }

  async #settleLandings(): Promise<void> {
    while (this.#landings.size > 0) await Promise.all(this.#landings);
  }

  #addCounts(added: BlobCounts): void {
    this.counts.dataBlobs += added.dataBlobs;
    this.counts.treeBlobs += added.treeBlobs;
    this.counts.addedBytes += added.addedBytes;
    this.counts.addedPackedBytes += added.addedPackedBytes;
    this.counts.packBytes += added.packBytes;
  }

  #throwIfFailed(): void {
    this.#options.signal.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

function countsOf(blobs: ReturnType<typeof decodePackHeader>, packBytes: number): BlobCounts {
  const counts: BlobCounts = { dataBlobs: 0, treeBlobs: 0, addedBytes: 0, addedPackedBytes: 0, packBytes };
  for (const blob of blobs) {
    counts[blob.type === 'tree' ? 'treeBlobs' : 'dataBlobs']++;
    counts.addedBytes += plainLengthOf(blob, overheadBytes);
    counts.addedPackedBytes += blob.length;
  }
  return counts;
}
