import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { packName } from '@holdfast/restic-format/layout';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobType } from '@holdfast/restic-format/pack';
import { decodeTree } from '@holdfast/restic-format/tree';
import type { BlobIndex, BlobLocation } from './blob-index.ts';
import type { ByteRange, GetOptions } from '@holdfast/storage/storage';
import { openBlob } from './sealed-blob.ts';
import { withSignal, type Repository } from './repository.ts';
import { createBlobUnpacker, type BlobUnpacker } from './blob-unpacker.ts';

/** Loads single blobs, each checked against its hash. */
export interface BlobLoader {
  /** Errors: repository_damaged (not indexed, not in its pack, not whole), those of the storage. */
  load(type: BlobType, id: ObjectId, signal?: AbortSignal): Promise<Uint8Array>;
  loadTree(id: ObjectId, signal?: AbortSignal): Promise<TreeNode[]>;
  /** Gives what `use` makes of a tree's bytes, which it has to be done with when it returns. */
  readTree<T>(id: ObjectId, signal: AbortSignal | undefined, use: (bytes: Uint8Array) => T): Promise<T>;
}

/** Trees lie side by side in their packs: one read brings those that are wanted next. */
const windowBytes = 1024 * 1024;
/** For so few it is not worth having memory to unpack them in. */
const fewBlobs = 32;
/** 32 MiB at most. */
const maxWindows = 32;

export function createBlobLoader(repository: Repository, index: BlobIndex): BlobLoader {
  /** Least recently used first. */
  const windows = new Map<string, Promise<Uint8Array>>();

  const loadWindow = (packId: ObjectId, range: ByteRange, { signal, keep }: Pick<GetOptions, 'signal' | 'keep'>): Promise<Uint8Array> => {
    const key = `${packId} ${range.offsetBytes} ${range.lengthBytes}`;
    const known = keep === 'anew' ? undefined : windows.get(key);
    const window = known ?? repository.storage.get(packName(packId), { range, keep, ...withSignal(signal) });
    windows.delete(key);
    windows.set(key, window);
    window.catch(() => {
      if (windows.get(key) === window) windows.delete(key);
    });
    for (const oldest of windows.keys()) {
      if (windows.size <= maxWindows) break;
      windows.delete(oldest);
    }
    return window;
  };

  let unpacker: BlobUnpacker | undefined;
  let loadCount = 0;
  const open = (sealed: Uint8Array, blob: BlobLocation): Uint8Array => {
    if (loadCount++ < fewBlobs) return openBlob(repository.cipher, sealed, blob);
    unpacker ??= createBlobUnpacker(repository.masterKeys);
    unpacker.window(sealed.length).set(sealed);
    return unpacker.unpack(0, sealed.length, blob.uncompressedLength ?? 0, blob.id);
  };

  /** `use` has to be done with the plaintext when it returns: the next blob takes its place. */
  const load = async <T>(type: BlobType, id: ObjectId, signal: AbortSignal | undefined, use: (plain: Uint8Array) => T): Promise<T> => {
    const entry = index.find(type, id);
    if (entry === -1) throw new HoldfastError('repository_damaged', `${type} blob ${id} is in no index`);
    const blob = index.at(entry);
    const start = Math.floor(blob.offset / windowBytes) * windowBytes;
    const end = Math.max(endOf(blob), Math.min(start + windowBytes, index.packEndBytes(entry)));
    const range = { offsetBytes: start, lengthBytes: end - start };
    const openIn = (window: Uint8Array): Uint8Array => open(window.subarray(blob.offset - start, endOf(blob) - start), blob);
    const window = await loadWindow(blob.packId, range, { ...withSignal(signal), ...(type === 'tree' ? { keep: 'yes' } : {}) });
    let plain: Uint8Array;
    try {
      plain = openIn(window);
    } catch (error) {
      if (type !== 'tree' || !isHoldfastError(error, 'repository_damaged')) throw error;
      // It may be what was kept that is not whole, and not what the storage has.
      plain = openIn(await loadWindow(blob.packId, range, { ...withSignal(signal), keep: 'anew' }));
    }
    return use(plain);
  };

  return {
    load: (type, id, signal) => load(type, id, signal, (plain) => plain.slice()),
    loadTree: (id, signal) => load('tree', id, signal, decodeTree),
    readTree: (id, signal, use) => load('tree', id, signal, use),
  };
}

function endOf(blob: BlobLocation): number {
  return blob.offset + blob.length;
}
