import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectReader, OpenObject, OpenObjectReader, ThreadReader } from '@holdfast/storage/storage';

/** The storage's reader for this thread. Without one, packs have to be brought along. */
export async function openThreadReader(reader: ThreadReader | null): Promise<ObjectReader> {
  if (reader === null) {
    return {
      open: (name) => {
        throw new HoldfastError('internal', `${name} was to be brought to this thread`);
      },
    };
  }
  const { openObjectReader }: { openObjectReader: OpenObjectReader } = await import(reader.module);
  return openObjectReader(reader.data);
}

/** An object that is in memory already: the whole of it, or the bytes from `startBytes` on. */
export function readerOfBytes(bytes: Uint8Array, startBytes = 0): OpenObject {
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
