import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { untilAborted } from '@holdfast/storage/until-aborted';
import type { BlobIndex } from '../blob-index.ts';
import { createBlobUnpacker, type BlobUnpacker } from '../blob-unpacker.ts';
import type { Repository } from '../repository.ts';
import { openBlob } from '../sealed-blob.ts';
import type { CurrentIndex } from './current-index.ts';
import { HeldValues } from './held-values.ts';
import { PackWindows } from './pack-windows.ts';
import { openTreeListing, type TreeListing } from './tree-listing.ts';

export interface TreeStoreOptions {
  readonly repository: Repository;
  readonly index: CurrentIndex;
  /** Ends what is on its way when nobody waits for it any more. */
  readonly closed: AbortSignal;
  readonly maxListingBytes: number;
  readonly maxWindowBytes: number;
}

/** For so few it is not worth having memory to unpack them in. */
const fewTrees = 32;

/** The trees of a repository, those that were used last in memory. A tree never changes, so snapshots share them. */
export class TreeStore {
  readonly #options: TreeStoreOptions;
  readonly #listings: HeldValues<ObjectId, TreeListing>;
  readonly #windows: PackWindows;
  /** On their way: whoever asks for the same one meanwhile waits with. */
  readonly #coming = new Map<ObjectId, Promise<TreeListing>>();
  #unpacker: BlobUnpacker | undefined;
  #readCount = 0;

  constructor(options: TreeStoreOptions) {
    this.#options = options;
    this.#listings = new HeldValues(options.maxListingBytes);
    this.#windows = new PackWindows(options.repository.storage, options.maxWindowBytes);
  }

  /** Errors: repository_damaged (in no index, not whole), those of the storage; the signal's reason. */
  async listing(id: ObjectId, signal: AbortSignal): Promise<TreeListing> {
    signal.throwIfAborted();
    const held = this.#listings.get(id);
    if (held !== undefined) return held;
    const coming = this.#coming.get(id) ?? this.#begin(id);
    return await untilAborted(coming, signal);
  }

  /** Of a tree that is in memory. */
  peekCount(id: ObjectId): number | undefined {
    return this.#listings.peek(id)?.count;
  }

  /** Gives what `use` makes of a tree's bytes, which it has to be done with when it returns. Errors: as `listing`. */
  async read<T>(id: ObjectId, signal: AbortSignal, use: (bytes: Uint8Array) => T): Promise<T> {
    const { index, closed } = this.#options;
    return await untilAborted(
      index.use(closed, (current) => this.#load(current, id, use)),
      signal,
    );
  }

  #begin(id: ObjectId): Promise<TreeListing> {
    const coming = this.read(id, this.#options.closed, (bytes) => openTreeListing(bytes.slice())).finally(() => this.#coming.delete(id));
    this.#coming.set(id, coming);
    return coming.then((listing) => {
      this.#listings.set(id, listing);
      return listing;
    });
  }

  async #load<T>(index: BlobIndex, id: ObjectId, use: (bytes: Uint8Array) => T): Promise<T> {
    const entry = index.find('tree', id);
    if (entry === -1) throw new HoldfastError('repository_damaged', `tree blob ${id} is in no index`);
    const { packId, offset, length, uncompressedLength } = index.at(entry);
    const place = { packId, offsetBytes: offset, lengthBytes: length, packEndBytes: index.packEndBytes(entry) };
    const signal = this.#options.closed;
    const blob = { id, plainLength: uncompressedLength ?? 0 };
    const sealed = await this.#windows.read(place, { signal });
    let plain: Uint8Array;
    try {
      plain = this.#open(sealed, blob);
    } catch (error) {
      if (!isHoldfastError(error, 'repository_damaged')) throw error;
      // It may be what was kept that is not whole, and not what the storage has.
      plain = this.#open(await this.#windows.read(place, { signal, keep: 'anew' }), blob);
    }
    return use(plain);
  }

  #open(sealed: Uint8Array, { id, plainLength }: { readonly id: ObjectId; readonly plainLength: number }): Uint8Array {
    const { repository } = this.#options;
    if (this.#readCount++ < fewTrees) {
      return openBlob(repository.cipher, sealed, { id, ...(plainLength === 0 ? {} : { uncompressedLength: plainLength }) });
    }
    this.#unpacker ??= createBlobUnpacker(repository.masterKeys);
    this.#unpacker.window(sealed.length).set(sealed);
    return this.#unpacker.unpack(0, sealed.length, plainLength, id);
  }
}
