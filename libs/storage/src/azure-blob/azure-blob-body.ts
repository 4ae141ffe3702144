import { Readable } from 'node:stream';
import { pieces } from '../remote/body.ts';

/** What is handed to a connection at once: see bodyOf. */
const sendStepBytes = 128 * 1024;

/**
 * The parts as a request's body, without a copy, in steps. Written in one go, a large body would move for minutes on a slow line under TLS
 * and Node see nothing of it: the watch over silent connections would end it.
 */
export function bodyOf(parts: readonly Uint8Array[]): Readable {
  return Readable.from(pieces(parts, sendStepBytes), { objectMode: false, highWaterMark: sendStepBytes });
}
