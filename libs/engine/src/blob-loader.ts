import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { packName } from '@holdfast/restic-format/layout';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobType } from '@holdfast/restic-format/pack';
import { decodeTree } from '@holdfast/restic-format/tree';
import type { BlobIndex, BlobLocation } from './blob-index.ts';
import { withSignal, type Repository } from './repository.ts';
import { createBlobUnpacker } from './blob-unpacker.ts';

/** Loads single blobs, each checked against its hash. */
export interface BlobLoader {
  /** Errors: repository_damaged (not indexed, not in its pack, not whole), those of the storage. */
  load(type: BlobType, id: ObjectId, signal?: AbortSignal): Promise<Uint8Array>;
  loadTree(id: ObjectId, signal?: AbortSignal): Promise<TreeNode[]>;
}

/** Trees lie side by side in their packs: one read brings those that are wanted next. */
const windowBytes = 1024 * 1024;
/** 32 MiB at most. */
const maxWindows = 32;

export function createBlobLoader(repository: Repository, index: BlobIndex): BlobLoader {
  const packEnds = new Map<ObjectId, number>();
  for (const { packId, entries } of index.packs()) {
    const last = entries.at(-1);
    if (last !== undefined) packEnds.set(packId, endOf(index.at(last)));
  }
  /** Least recently used first. */
  const windows = new Map<string, Promise<Uint8Array>>();

  const loadWindow = (packId: ObjectId, offsetBytes: number, lengthBytes: number, signal?: AbortSignal): Promise<Uint8Array> => {
    const key = `${packId} ${offsetBytes} ${lengthBytes}`;
    const window =
      windows.get(key) ?? repository.storage.get(packName(packId), { range: { offsetBytes, lengthBytes }, ...withSignal(signal) });
    windows.delete(key);
    windows.set(key, window);
    window.catch(() => windows.delete(key));
    for (const oldest of windows.keys()) {
      if (windows.size <= maxWindows) break;
      windows.delete(oldest);
    }
    return window;
  };

  const unpacker = createBlobUnpacker(repository.masterKeys);

  /** `use` has to be done with the plaintext when it returns: the next blob takes its place. */
  const load = async <T>(type: BlobType, id: ObjectId, signal: AbortSignal | undefined, use: (plain: Uint8Array) => T): Promise<T> => {
    const blob = index.lookup(type, id);
    if (blob === null) throw new HoldfastError('repository_damaged', `${type} blob ${id} is in no index`);
    const start = Math.floor(blob.offset / windowBytes) * windowBytes;
    const end = Math.max(endOf(blob), Math.min(start + windowBytes, packEnds.get(blob.packId) ?? 0));
    const window = await loadWindow(blob.packId, start, end - start, signal);
    const sealed = window.subarray(blob.offset - start, endOf(blob) - start);
    unpacker.window(sealed.length).set(sealed);
    return use(unpacker.unpack(0, sealed.length, blob.uncompressedLength ?? 0, id));
  };

  return {
    load: (type, id, signal) => load(type, id, signal, (plain) => plain.slice()),
    loadTree: (id, signal) => load('tree', id, signal, decodeTree),
  };
}

function endOf(blob: BlobLocation): number {
  return blob.offset + blob.length;
}
