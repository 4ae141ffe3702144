import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { OpenObject } from '@holdfast/storage/local/local-object';

/** An object that is in memory already: the whole of it, or the bytes from `startBytes` on. */
export function objectOfBytes(bytes: Uint8Array, startBytes = 0): OpenObject {
  return {
    sizeBytes: startBytes + bytes.length,
    read: (into, positionBytes) => {
      const at = positionBytes - startBytes;
      if (at < 0 || at + into.length > bytes.length) {
        throw new HoldfastError('storage_object_too_short', 'the object ends before the bytes asked for');
      }
      into.set(bytes.subarray(at, at + into.length));
    },
    close: () => {},
  };
}
