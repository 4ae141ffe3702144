import type { CompressionMode } from '@holdfast/restic-format/compression';
import type { IndexedPack } from '@holdfast/restic-format/index-file';
import { packName } from '@holdfast/restic-format/layout';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobType } from '@holdfast/restic-format/pack';
import { randomInt } from 'node:crypto';
import type { BlobIndex } from './blob-index.ts';
import type { BlobCounts, BlobSink } from './blob-sink.ts';
import type { Clock } from './clock.ts';
import { createIndexWriter } from './index-writer.ts';
import { OpenPack, type BlobToPack } from './open-pack.ts';
import type { Repository } from './repository.ts';
import { createSealBatch, maxBatchedBytes, type SealBatch } from './seal-batch.ts';
import { sealBlob, treeCompression } from './sealed-blob.ts';
import { Slots } from './slots.ts';

export interface PackerOptions {
  readonly repository: Repository;
  /** What is known; packs are added to it once a durable index file names them, so that several calls may share it. */
  readonly index: BlobIndex;
  /** Of data; for trees see treeCompression. */
  readonly compression: CompressionMode;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Against the attack of "Chunking Attacks on File Backup Services using Content-Defined Chunking" (eprint 2025/532): who sees pack
 * sizes and their order could learn the sizes of chunks that follow each other in a known file, and from them the secret polynomial.
 * Blobs spread at random over several open packs, so neighbours in a file are not neighbours in a pack.
 */
const openPacksPerType = 2;
/** Packs on their way, each up to 24 MiB of memory. A saver that is faster than the storage waits. */
const maxUploads = 4;
/** For so few it is not worth having memory to seal them in. */
const fewBlobs = 32;

/** Packs blobs in this thread. */
export function createPacker(options: PackerOptions): BlobSink {
  return new Packer(options);
}

class Packer implements BlobSink {
  readonly counts: BlobCounts = { dataBlobs: 0, treeBlobs: 0, addedBytes: 0, addedPackedBytes: 0, packBytes: 0 };
  readonly #options: PackerOptions;
  readonly #indexWriter;
  readonly #open: Record<BlobType, (OpenPack | undefined)[]> = { data: [], tree: [] };
  /** Blobs that no durable index file names yet, by type and id. */
  readonly #inFlight = new Set<string>();
  /** Made when there are enough blobs for it. */
  #batch: SealBatch | undefined;
  readonly #uploadSlots = new Slots(maxUploads);
  readonly #uploads = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  constructor(options: PackerOptions) {
    this.#options = options;
    this.#indexWriter = createIndexWriter(options.repository, options.clock, options.signal, (packs) => this.#onIndexed(packs));
  }

  async save(type: BlobType, plain: Uint8Array) {
    this.#throwIfFailed();
    const { index, repository, compression } = this.#options;
    const id = hashOf(plain);
    if (this.#inFlight.has(key(type, id)) || index.has(type, id)) return { id, isNew: false };
    this.#inFlight.add(key(type, id));
    const mode = type === 'tree' ? treeCompression(compression) : compression;
    const isBatched = plain.length <= maxBatchedBytes && this.counts.dataBlobs + this.counts.treeBlobs >= fewBlobs;
    this.counts[type === 'tree' ? 'treeBlobs' : 'dataBlobs']++;
    this.counts.addedBytes += plain.length;
    if (isBatched) await this.#addToBatch(type, id, plain, mode);
    else {
      const sealed = sealBlob(repository.cipher, id, plain, mode);
      this.counts.addedPackedBytes += sealed.bytes.length;
      await this.#pack({ id, type, ...sealed });
    }
    return { id, isNew: true };
  }

  async saveSealed(type: BlobType, blob: Omit<BlobToPack, 'type'>): Promise<void> {
    this.#throwIfFailed();
    await this.#pack({ ...blob, type });
  }

  async finish(): Promise<void> {
    await this.#packAll(this.#batch?.take() ?? []);
    for (const type of ['data', 'tree'] as const) {
      const packs = this.#open[type].filter((pack) => pack !== undefined);
      this.#open[type] = [];
      // Small rests go together: apart they would show the sizes of single blobs.
      const [first, ...others] = packs;
      for (const other of others) {
        if (first?.canTake(other)) first.takeAll(other);
        else await this.#upload(other);
      }
      if (first !== undefined) await this.#upload(first);
    }
    await this.settle();
    this.#throwIfFailed();
    await this.#indexWriter.finish();
  }

  async settle(): Promise<void> {
    while (this.#uploads.size > 0) await Promise.all(this.#uploads);
  }

  /** All that is done with the bytes is done before the first pause. */
  async #addToBatch(type: BlobType, id: ObjectId, plain: Uint8Array, mode: CompressionMode): Promise<void> {
    const batch = (this.#batch ??= createSealBatch(this.#options.repository.masterKeys));
    const full = batch.hasRoomFor(plain.length) ? [] : batch.take();
    this.counts.addedPackedBytes += batch.add(type, id, plain, mode);
    await this.#packAll(full);
  }

  async #packAll(blobs: readonly BlobToPack[]): Promise<void> {
    for (const blob of blobs) await this.#pack(blob);
  }

  /** Chosen and filled without a pause in between, so that a pack never changes while it is on its way. */
  async #pack(blob: BlobToPack): Promise<void> {
    this.#inFlight.add(key(blob.type, blob.id));
    const open = this.#open[blob.type];
    const at = randomInt(openPacksPerType);
    const pack = (open[at] ??= new OpenPack());
    pack.add(blob);
    if (!pack.isFull) return;
    open[at] = undefined;
    await this.#upload(pack);
  }

  /** Returns when there is room for the upload, not when it is done. */
  async #upload(pack: OpenPack): Promise<void> {
    await this.#uploadSlots.acquire();
    if (this.#failure !== undefined) return this.#uploadSlots.release();
    const upload = this.#put(pack)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#uploadSlots.release();
        this.#uploads.delete(upload);
      });
    this.#uploads.add(upload);
  }

  async #put(open: OpenPack): Promise<void> {
    const { repository, signal } = this.#options;
    const { parts, pack } = open.close(repository.cipher);
    await repository.storage.put(packName(pack.id), parts, { signal, sha256: pack.id });
    this.counts.packBytes += open.sizeBytes;
    await this.#indexWriter.add(pack);
  }

  #onIndexed(packs: readonly IndexedPack[]): void {
    for (const pack of packs) {
      this.#options.index.add(pack);
      for (const { type, id } of pack.blobs) this.#inFlight.delete(key(type, id));
    }
  }

  #throwIfFailed(): void {
    this.#options.signal.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

const key = (type: BlobType, id: string): string => (type === 'tree' ? `t${id}` : `d${id}`);
