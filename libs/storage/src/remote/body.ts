import { createHash, type Hash } from 'node:crypto';
import { finished, type Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';

/** Bytes on their way to a server and from it, as the adapters that speak HTTP have them. */

/** Other work gets its turn between hashing two of these; some milliseconds each. */
const hashPieceSizeBytes = 4 * 1024 * 1024;

/** The parts as they lie in memory, none of the pieces longer than `sizeBytes`. */
export function* pieces(parts: readonly Uint8Array[], sizeBytes: number): Generator<Uint8Array, void, undefined> {
  for (const part of parts) {
    for (let begin = 0; begin < part.byteLength; begin += sizeBytes) yield part.subarray(begin, begin + sizeBytes);
  }
}

export function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.byteLength, 0);
}

/** The hash of all parts. Rejects with the signal's reason. */
export async function hashOfParts(
  algorithm: 'md5' | 'sha256',
  parts: readonly Uint8Array[],
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const hash: Hash = createHash(algorithm);
  let sinceTurnBytes = 0;
  for (const piece of pieces(parts, hashPieceSizeBytes)) {
    hash.update(piece);
    sinceTurnBytes += piece.byteLength;
    if (sinceTurnBytes < hashPieceSizeBytes) continue;
    sinceTurnBytes = 0;
    await turn();
    signal?.throwIfAborted();
  }
  return hash.digest();
}

/**
 * Reads a body of exactly that length into `into`, if that is as long, or an array of its own: not from Node's pool, as the caller may
 * hand its buffer to another thread. Undefined when it has another length. Rejects with what ended a stream that broke off. The stream has ended, or is ended here.
 */
export async function readExactly(stream: Readable, lengthBytes: number, into?: Uint8Array): Promise<Uint8Array | undefined> {
  const bytes = into?.byteLength === lengthBytes ? into : new Uint8Array(Buffer.allocUnsafeSlow(lengthBytes).buffer);
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  let doneBytes = 0;
  finished(stream, { writable: false }, (error) => {
    if (error === null || error === undefined || doneBytes > lengthBytes) resolve(undefined);
    else reject(error);
  });
  // Listened to, and not iterated over, which would gather the chunks of a turn into one more copy.
  stream.on('data', (chunk: Uint8Array) => {
    if (doneBytes + chunk.byteLength <= lengthBytes) bytes.set(chunk, doneBytes);
    else stream.destroy();
    doneBytes += chunk.byteLength;
  });
  await promise;
  if (doneBytes === lengthBytes) return bytes;
  stream.destroy();
  return undefined;
}
