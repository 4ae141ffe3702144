import { constants, createZstdCompress, createZstdDecompress, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

/**
 * zstd with one context for many small pieces, from memory to memory. Making a context for each costs five times as much as
 * compressing a kilobyte. node:zlib keeps contexts only in its streams, whose handles can be called directly: that is no public
 * interface, so its shape is looked at first, and the public calls do the same work where it has changed.
 */
export interface KeptZstd {
  /**
   * Writes one frame, or the content of one, to [toStart, toStart + toBytes) of `to`; returns its length, or -1 when there is no
   * room for it or the input is no frame.
   */
  run(from: Uint8Array, fromStart: number, fromBytes: number, to: Uint8Array, toStart: number, toBytes: number): number;
}

/** Room that lets a piece be compressed in one go, without a copy of it inside of the context. */
export function compressBound(sizeBytes: number): number {
  return sizeBytes + (sizeBytes >>> 8) + 512;
}

/** How matches are looked for, where that is to differ from what a level has chosen: in one table of 2^`tableLog` places, each by `minMatch` bytes. */
export interface OneTableSearch {
  readonly tableLog: number;
  readonly minMatch: number;
}

export function createKeptCompressor(
  level: number,
  { usePublic = false, search }: { usePublic?: boolean; search?: OneTableSearch } = {},
): KeptZstd {
  const params = { [constants.ZSTD_c_compressionLevel]: level, ...(search === undefined ? {} : oneTable(search)) };
  const handle = usePublic ? null : handleOf(createZstdCompress({ params }));
  if (handle !== null) return keptBy(handle, constants.ZSTD_e_end);
  return calling((bytes) => zstdCompressSync(bytes, { params }));
}

function oneTable({ tableLog, minMatch }: OneTableSearch): Record<number, number> {
  return {
    [constants.ZSTD_c_strategy]: constants.ZSTD_fast,
    [constants.ZSTD_c_hashLog]: tableLog,
    [constants.ZSTD_c_minMatch]: minMatch,
    // Every place is looked at.
    [constants.ZSTD_c_targetLength]: 0,
  };
}

/** `run` gives -1 for what is damaged, too long or has something behind the frame: the caller says what that means. */
export function createKeptDecompressor({ usePublic = false } = {}): KeptZstd {
  const handle = usePublic ? null : handleOf(createZstdDecompress());
  if (handle !== null) return keptBy(handle, constants.ZSTD_e_end);
  return calling((bytes, maxBytes) => zstdDecompressSync(bytes, { maxOutputLength: Math.max(maxBytes, 1) }));
}

/** What is used of a zlib stream's handle. `state` holds, after a write, the room left in the output and the input left unread. */
interface Handle {
  readonly state: Uint32Array;
  hasFailed: boolean;
  reset(): void;
  writeSync(flush: number, from: Uint8Array, fromStart: number, fromBytes: number, to: Uint8Array, toStart: number, toBytes: number): void;
}

function handleOf(stream: object): Handle | null {
  const native: unknown = Reflect.get(stream, '_handle');
  const state: unknown = Reflect.get(stream, '_writeState');
  if (typeof native !== 'object' || native === null || !(state instanceof Uint32Array) || state.length < 2) return null;
  const [reset, writeSync]: unknown[] = [Reflect.get(native, 'reset'), Reflect.get(native, 'writeSync')];
  if (typeof reset !== 'function' || typeof writeSync !== 'function') return null;
  const handle: Handle = {
    state,
    hasFailed: false,
    reset: () => void Reflect.apply(reset, native, []),
    writeSync: (...args) => void Reflect.apply(writeSync, native, args),
  };
  // Its own listener would end the stream and, with it, the process.
  Reflect.set(native, 'onerror', () => (handle.hasFailed = true));
  return handle;
}

function keptBy(handle: Handle, flush: number): KeptZstd {
  return {
    run(from, fromStart, fromBytes, to, toStart, toBytes) {
      handle.hasFailed = false;
      handle.reset();
      handle.writeSync(flush, from, fromStart, fromBytes, to, toStart, toBytes);
      const [roomLeft = 0, unread = 1] = handle.state;
      // With no room left there may be more to come.
      return handle.hasFailed || unread > 0 || roomLeft === 0 ? -1 : toBytes - roomLeft;
    },
  };
}

function calling(work: (bytes: Uint8Array, maxBytes: number) => Uint8Array): KeptZstd {
  return {
    run(from, fromStart, fromBytes, to, toStart, toBytes) {
      let result: Uint8Array;
      try {
        result = work(from.subarray(fromStart, fromStart + fromBytes), toBytes);
      } catch {
        // No frame, or more in it than there is room for.
        return -1;
      }
      if (result.length >= toBytes) return -1;
      to.set(result, toStart);
      return result.length;
    },
  };
}
