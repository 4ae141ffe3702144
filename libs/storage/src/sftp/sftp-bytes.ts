import type { SftpHandle, SftpSession } from './sftp-session.ts';

/** What one request carries: below the 255 KiB that OpenSSH takes; the library splits it for servers that take 32 KiB. */
const pieceSizeBytes = 128 * 1024;
/** A quarter more than the channel's window of 2 MiB, so that the window sets the pace. More would lie around in memory, twice. */
const requestsAtOnce = 20;

interface Piece {
  readonly bytes: Buffer;
  readonly position: number;
}

/**
 * Writes all parts one after the other from the file's begin on, many pieces on their way at once.
 * `onSent` is called when all are sent, a round trip before the last answer. Aborting or a piece that fails stops the sending; it rejects
 * when what was sent has been answered.
 */
export async function writeParts(
  session: SftpSession,
  handle: SftpHandle,
  parts: readonly Uint8Array[],
  signal: AbortSignal | undefined,
  onSent: () => void,
): Promise<void> {
  await inParallel(pieces(parts), ({ bytes, position }) => session.write(handle, bytes, position), signal, onSent);
}

export interface Extent {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** See GetOptions. */
  readonly into?: Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** `lengthBytes` from `offsetBytes`, or undefined when the file ends before. The caller owns the array. */
export async function readExactly(
  session: SftpSession,
  handle: SftpHandle,
  { offsetBytes, lengthBytes, into, signal }: Extent,
): Promise<Uint8Array | undefined> {
  // Not from Node's pool: the caller may hand its buffer to another thread.
  const whole = into?.byteLength === lengthBytes ? into : new Uint8Array(Buffer.allocUnsafeSlow(lengthBytes).buffer);
  let isShort = false;
  await inParallel(
    pieces([whole]),
    async ({ bytes, position }) => {
      // A server may give less than it was asked for, and nothing only at the end.
      for (let done = 0; done < bytes.byteLength && !isShort;) {
        const count = await session.read(handle, bytes.subarray(done), offsetBytes + position + done);
        if (count === 0) isShort = true;
        done += count;
      }
    },
    signal,
  );
  return isShort ? undefined : whole;
}

async function inParallel(
  all: Iterable<Piece>,
  work: (piece: Piece) => Promise<void>,
  signal: AbortSignal | undefined,
  onSent: () => void = () => undefined,
): Promise<void> {
  const iterator = all[Symbol.iterator]();
  const failures: unknown[] = [];
  let isSent = false;
  const worker = async (): Promise<void> => {
    try {
      while (failures.length === 0) {
        signal?.throwIfAborted();
        const next = iterator.next();
        if (next.done !== true) await work(next.value);
        else if (isSent) return;
        else {
          isSent = true;
          return onSent();
        }
      }
    } catch (error) {
      failures.push(error);
    }
  };
  await Promise.all(Array.from({ length: requestsAtOnce }, worker));
  if (failures.length > 0) throw failures[0];
}

/** The bytes of parts in pieces: views where a part is large, joined where parts are small. */
function* pieces(parts: readonly Uint8Array[]): Generator<Piece> {
  let position = 0;
  let joined: Buffer[] = [];
  let joinedSizeBytes = 0;
  const flush = (): Piece => {
    const bytes = joined.length === 1 && joined[0] !== undefined ? joined[0] : Buffer.concat(joined, joinedSizeBytes);
    const piece = { bytes, position };
    position += joinedSizeBytes;
    joined = [];
    joinedSizeBytes = 0;
    return piece;
  };
  for (const part of parts) {
    for (let done = 0; done < part.byteLength;) {
      const sizeBytes = Math.min(part.byteLength - done, pieceSizeBytes - joinedSizeBytes);
      joined.push(Buffer.from(part.buffer, part.byteOffset + done, sizeBytes));
      joinedSizeBytes += sizeBytes;
      done += sizeBytes;
      if (joinedSizeBytes === pieceSizeBytes) yield flush();
    }
  }
  if (joinedSizeBytes > 0) yield flush();
}
