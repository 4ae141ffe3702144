import type { FileHandle } from 'node:fs/promises';

/** Between two pieces an abort is seen; large enough that the pieces cost nothing. */
const pieceSizeBytes = 8 * 1024 * 1024;

/** IOV_MAX of Linux. */
const maxPartsPerCall = 1024;

/** Writes all parts one after the other at the handle's position, however little each call takes: many small ones in one call. */
export async function writeFully(handle: FileHandle, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
  for (let part = 0, done = 0; part < parts.length;) {
    signal?.throwIfAborted();
    let { bytesWritten: left } = await handle.writev(nextPieces(parts, part, done));
    for (let rest = restOf(parts, part, done); part < parts.length && left >= rest; rest = restOf(parts, part, done)) {
      left -= rest;
      part++;
      done = 0;
    }
    done += left;
  }
}

function restOf(parts: readonly Uint8Array[], part: number, done: number): number {
  return (parts[part]?.byteLength ?? 0) - done;
}

/** What one call is given, beginning behind the first `done` bytes of a part. */
function nextPieces(parts: readonly Uint8Array[], from: number, done: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let [start, room] = [done, pieceSizeBytes];
  for (let part = from; part < parts.length && pieces.length < maxPartsPerCall && room > 0; part++) {
    const piece = parts[part]?.subarray(start, start + room) ?? new Uint8Array(0);
    pieces.push(piece);
    room -= piece.byteLength;
    start = 0;
  }
  return pieces;
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
