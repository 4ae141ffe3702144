import { constants, createZstdDecompress } from 'node:zlib';

import { HoldfastError } from '@holdfast/errors/holdfast-error';

import { decompressBlob, maxPlainBytes } from './compression.ts';

/**
 * decompressBlob for many blobs one after the other, with one zstd context and one output buffer that are kept: for a blob of
 * 1 KiB 1 µs instead of 30. Node's public calls make both anew each time, so this goes through the native handle behind a stream,
 * whose shape is checked first; where it is another one, the public call does the work.
 */
export interface Decompressor {
  /**
   * The plaintext of a compressed blob, which has to have exactly `plainLength` bytes. Valid until the next call.
   * Errors: repository_damaged.
   */
  decompress(bytes: Uint8Array, plainLength: number): Uint8Array;
  /** Whether the context is kept. */
  readonly keepsContext: boolean;
  close(): void;
}

/** What is used of the stream's native handle. `writeSync` leaves in the write state how much room and how much input is left. */
interface NativeHandle {
  onerror: (message: string) => void;
  reset(): void;
  writeSync(flush: number, from: Uint8Array, at: number, size: number, into: Uint8Array, intoAt: number, intoSize: number): void;
}

/** One byte more than the plaintext may have: a frame that holds more shows by filling it. */
const spareBytes = 1;
/** The first size of the output buffer; it grows to the largest blob met. */
const firstBufferBytes = 1024 * 1024;
/** The largest buffer that is kept: what is larger than the largest chunk is a tree of a huge folder, and rare. */
const maxKeptBytes = 9 * 1024 * 1024;

/** `options.usePublicCall`: for the test of it. */
export function createDecompressor(options: { usePublicCall?: boolean } = {}): Decompressor {
  const stream = createZstdDecompress();
  const native = options.usePublicCall === true ? undefined : nativeOf(stream);
  if (native === undefined) {
    stream.destroy();
    return { decompress: decompressBlob, keepsContext: false, close: () => {} };
  }
  const { handle, writeState } = native;
  let failure: string | undefined;
  // In place of the stream's own, which would destroy it.
  Object.assign(handle, {
    onerror: (message: string) => {
      failure = message;
    },
  });
  let buffer = new Uint8Array(firstBufferBytes);

  return {
    keepsContext: true,
    decompress(bytes, plainLength) {
      if (plainLength > maxKeptBytes || plainLength > maxPlainBytes) return decompressBlob(bytes, plainLength);
      const room = plainLength + spareBytes;
      if (buffer.length < room) buffer = new Uint8Array(Math.min(Math.max(room, buffer.length * 2), maxKeptBytes + spareBytes));
      failure = undefined;
      handle.reset();
      handle.writeSync(constants.ZSTD_e_continue, bytes, 0, bytes.length, buffer, 0, room);
      if (failure !== undefined) throw damaged(`compressed bytes are no zstd frame: ${String(failure)}`);
      const [roomLeft = 0, inputLeft = 0] = writeState;
      if (roomLeft !== spareBytes || inputLeft !== 0)
        throw damaged(`a compressed blob does not hold ${plainLength} bytes as its entry says`);
      return buffer.subarray(0, plainLength);
    },
    close: () => {
      stream.destroy();
    },
  };
}

/** The handle and its write state, when they are what they were in the Node this was written for. */
function nativeOf(stream: object): { handle: NativeHandle; writeState: Uint32Array } | undefined {
  const { _handle: handle, _writeState: writeState } = stream as { _handle?: unknown; _writeState?: unknown };
  if (typeof handle !== 'object' || handle === null || !(writeState instanceof Uint32Array) || writeState.length !== 2) return undefined;
  return isNativeHandle(handle) ? { handle, writeState } : undefined;
}

function isNativeHandle(handle: object): handle is NativeHandle {
  return (
    'reset' in handle &&
    typeof handle.reset === 'function' &&
    'writeSync' in handle &&
    typeof handle.writeSync === 'function' &&
    'onerror' in handle &&
    typeof handle.onerror === 'function'
  );
}

const damaged = (message: string): HoldfastError => new HoldfastError('repository_damaged', message);
