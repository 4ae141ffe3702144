import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Bytes on their way to and from a blob. */

/** Other work gets its turn between hashing two of these, some 6 ms each. */
const hashStepBytes = 4 * 1024 * 1024;

/** What is handed to a connection at once: see bodyOf. */
const sendStepBytes = 128 * 1024;

/**
 * The parts as a request's body, without a copy, in steps. Written in one go, a large body would move for minutes on a slow line under TLS
 * and Node see nothing of it: the watch over silent connections would end it.
 */
export function bodyOf(parts: readonly Uint8Array[]): Readable {
  return Readable.from(stepsOf(parts, sendStepBytes), { objectMode: false, highWaterMark: sendStepBytes });
}

/** What the service compares with what arrives. Throws the signal's reason. */
export async function md5Of(parts: readonly Uint8Array[], abortSignal: AbortSignal): Promise<Uint8Array> {
  const hash = createHash('md5');
  let passedBytes = 0;
  for (const step of stepsOf(parts, hashStepBytes)) {
    hash.update(step);
    passedBytes += step.byteLength;
    if (passedBytes < hashStepBytes) continue;
    passedBytes = 0;
    await nextTurn();
    abortSignal.throwIfAborted();
  }
  return hash.digest();
}

function* stepsOf(parts: readonly Uint8Array[], stepBytes: number): Generator<Uint8Array> {
  for (const part of parts) {
    for (let begin = 0; begin < part.byteLength; begin += stepBytes) yield part.subarray(begin, begin + stepBytes);
  }
}

/** A body of exactly so many bytes; throws a RangeError for one of another length, and what ended a stream that broke off. */
export async function readBody(body: Readable, lengthBytes: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(lengthBytes);
  let filledBytes = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    if (filledBytes + chunk.byteLength > lengthBytes) throw new RangeError('more bytes than announced');
    bytes.set(chunk, filledBytes);
    filledBytes += chunk.byteLength;
  }
  if (filledBytes !== lengthBytes) throw new RangeError('fewer bytes than announced');
  return bytes;
}
