/**
 * Where a repository lives. An adapter knows objects, not packs or keys: names and bytes.
 *
 * Names are the repository format's own: `config`, `keys/<id>`, `locks/<id>`, `snapshots/<id>`, `index/<id>`,
 * `data/<two hex>/<id>`. Every promise below is a test in testing/storage-contract.ts, which every adapter passes on a real server.
 */
export interface Storage {
  /** For people: kind and place, such as `local:/backups/a`. Holds no secret. */
  readonly location: string;

  /**
   * What openThreadStorage needs to open the same storage in another thread. Absent where only this thread can use it: bytes are
   * then handed over to it.
   */
  readonly threadOptions?: ThreadStorageOptions;

  /**
   * Writes an object whole. When it returns, the bytes are durable (fsync of file and folder, or the server's word) and every
   * later `get`, `stat` and `list` sees them. Until then no reader sees anything of it: not a part, not an empty object.
   * A failed or aborted put leaves nothing that `list` shows. The bytes are the caller's to fill again when it has returned; after a failure
   * a connection may still read them.
   * Errors: storage_object_exists (an object is never replaced), storage_full, storage_denied, storage_unreachable.
   */
  put(name: string, bytes: Uint8Array | readonly Uint8Array[], options?: PutOptions): Promise<void>;

  /**
   * The object's bytes, or `range.lengthBytes` of them from `range.offsetBytes`. A range past the end is an error, not a short read.
   * The caller owns the returned array. Errors: storage_object_missing, storage_object_too_short, storage_denied, storage_unreachable.
   */
  get(name: string, options?: GetOptions): Promise<Uint8Array>;

  /** Errors: storage_object_missing, storage_denied, storage_unreachable. */
  stat(name: string, options?: CallOptions): Promise<StoredObject>;

  /**
   * Every object whose name begins with `prefix` (`''`, or a folder with its slash: `data/`), in no order, past any page size.
   * An object put or deleted meanwhile may or may not be listed; all others are. A prefix with nothing below lists nothing.
   */
  list(prefix: string, options?: CallOptions): AsyncIterable<StoredObject>;

  /**
   * Removes an object; one that is not there is no error. Durable when it returns.
   * Errors: storage_object_held (a lock or a time of retention keeps it; `context.freeAt` is when that ends, an ISO date, or null where
   * nobody knows), storage_append_only, storage_denied, storage_unreachable.
   */
  delete(name: string, options?: CallOptions): Promise<void>;

  /** Ends connections. Calling it twice is no error. */
  close(): Promise<void>;
}

/** The calls that go to the server, by their names. */
export type StorageOperation = 'put' | 'get' | 'stat' | 'list' | 'delete';

/** Plain data, good for a structured clone. */
export interface ThreadStorageOptions {
  readonly kind: 'local';
  readonly path: string;
}

export interface StoredObject {
  readonly name: string;
  readonly sizeBytes: number;
  readonly modifiedAt: Date;
}

export interface ByteRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface CallOptions {
  /** Aborting rejects with the signal's reason, within a second. */
  readonly signal?: AbortSignal;
}

export interface GetOptions extends CallOptions {
  readonly range?: ByteRange;
  /**
   * Memory of the range's length, which may be shared with other threads. An adapter that can reads straight into it and returns it;
   * one that cannot returns an array of its own. It is the adapter's until the call has settled, and holds anything after an error.
   */
  readonly into?: Uint8Array;
  /**
   * A hint to a storage that keeps ranges on a disk of its own: 'yes' for one that is wanted again and again, the trees of a pack.
   * 'anew' when the bytes that came were not whole: they are to come from where the repository lies, and what is kept is dropped.
   */
  readonly keep?: 'yes' | 'anew' | undefined;
}

export interface PutOptions extends CallOptions {
  /**
   * Hex, of the bytes, from who knows it already: an adapter need not hash them again. A name that ends in it is taken by these very
   * bytes or by damaged ones, so where a server cannot refuse to replace, an adapter need not look whether such a name is free.
   */
  readonly sha256?: string;
}

/**
 * The largest object that an adapter must take: restic's largest pack with room to spare.
 * @public for adapters that have to size their uploads
 */
export const maxObjectSizeBytes = 160 * 1024 * 1024;
