import type { FileHandle } from 'node:fs/promises';

/** Between two pieces an abort is seen; large enough that the pieces cost nothing. */
const pieceSizeBytes = 8 * 1024 * 1024;

/** Writes all parts one after the other at the handle's position, however little each call takes. */
export async function writeFully(handle: FileHandle, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
  for (const part of parts) {
    for (let done = 0; done < part.byteLength;) {
      signal?.throwIfAborted();
      const { bytesWritten } = await handle.write(part, done, Math.min(pieceSizeBytes, part.byteLength - done));
      done += bytesWritten;
    }
  }
}

/** `lengthBytes` from `offsetBytes`, or undefined when the file ends before. */
export async function readExactly(
  handle: FileHandle,
  offsetBytes: number,
  lengthBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array | undefined> {
  // Not from Node's pool: the caller owns the array and may hand its buffer to another thread.
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(lengthBytes).buffer);
  for (let done = 0; done < lengthBytes;) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(bytes, done, Math.min(pieceSizeBytes, lengthBytes - done), offsetBytes + done);
    if (bytesRead === 0) return undefined;
    done += bytesRead;
  }
  return bytes;
}
