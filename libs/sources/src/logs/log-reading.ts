import { hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { LogEncoding, LogEntry } from './log-manifest.ts';

/** What tells one log from another: its beginning, and the bytes before a place in it. */

/** Some lines: two logs that agree in all of it, time stamps included, are one. */
const digestBytes = 4096;
/** One read of a compressed file. */
const pieceBytes = 256 * 1024;

export type Digest = LogEntry['head'];

export function digestOf(bytes: Uint8Array): Digest {
  return { bytes: bytes.length, sha256: hash('sha256', bytes) };
}

/** Whether bytes begin as a digest says. */
export function beginsAs(bytes: Uint8Array, { bytes: count, sha256 }: Digest): boolean {
  return bytes.length >= count && hash('sha256', bytes.subarray(0, count)) === sha256;
}

/** How many bytes a tail that ends at `toByte` has. */
export function tailBytes(toByte: number): number {
  return Math.min(toByte, digestBytes);
}

/** The file's bytes from there on; fewer where it ends. Errors: those of read(2). */
export async function readAt(handle: FileHandle, positionBytes: number, lengthBytes: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(lengthBytes);
  let filled = 0;
  while (filled < lengthBytes) {
    const { bytesRead } = await handle.read(bytes, filled, lengthBytes - filled, positionBytes + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

/** The first bytes of a file that has `sizeBytes` at most. */
export async function readHead(handle: FileHandle, sizeBytes: number): Promise<Uint8Array> {
  return await readAt(handle, 0, Math.min(sizeBytes, digestBytes));
}

/** By the first bytes, whatever the file's name. */
export function encodingOf(head: Uint8Array): LogEncoding | undefined {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  const isZstd = head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd;
  return isZstd ? 'zstd' : undefined;
}

export function decompressorOf(encoding: LogEncoding): Transform {
  return encoding === 'gzip' ? createGunzip() : createZstdDecompress();
}

/** What a compressed file holds. */
export interface PlainText {
  readonly sizeBytes: number;
  readonly head: Uint8Array;
  readonly tail: Digest;
  /** The digests of the bytes that end at the places that were asked for, as far as the text goes. */
  readonly tailsAt: ReadonlyMap<number, Digest>;
}

/**
 * Decompresses all of a file to look at it; null when it is not whole: it ends too early, or is none of its kind. `places` are ends of tails.
 * Errors: those of read(2), and the signal's reason.
 */
export async function readPlainText(
  handle: FileHandle,
  { encoding, sizeBytes, places, signal }: { encoding: LogEncoding; sizeBytes: number; places: readonly number[]; signal: AbortSignal },
): Promise<PlainText | null> {
  const scan = new PlainScan(places);
  try {
    await pipeline(
      Readable.from(piecesOf(handle, sizeBytes)),
      decompressorOf(encoding),
      async (plain: AsyncIterable<Uint8Array>) => {
        for await (const piece of plain) scan.add(piece);
      },
      { signal },
    );
  } catch (error) {
    signal.throwIfAborted();
    if (isNoPlainText(error)) return null;
    throw error;
  }
  return scan.end();
}

/** The codes of zlib, as Z_BUF_ERROR for what ends too early, and of zstd. */
export function isNoPlainText(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(Z|ZSTD)_/u.test(error.code);
}

async function* piecesOf(handle: FileHandle, sizeBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < sizeBytes;) {
    const piece = await readAt(handle, at, Math.min(pieceBytes, sizeBytes - at));
    if (piece.length === 0) return;
    yield piece;
    at += piece.length;
  }
}

/** Holds the text's first bytes and the last ones, however long it is. */
class PlainScan {
  #sizeBytes = 0;
  #head: Uint8Array = new Uint8Array(0);
  #last: Uint8Array = new Uint8Array(0);
  readonly #places: number[];
  readonly #tailsAt = new Map<number, Digest>();

  constructor(places: readonly number[]) {
    this.#places = places.toSorted((a, b) => a - b);
  }

  add(piece: Uint8Array): void {
    if (this.#head.length < digestBytes) this.#head = Buffer.concat([this.#head, piece.subarray(0, digestBytes - this.#head.length)]);
    const joined = Buffer.concat([this.#last, piece]);
    const start = this.#sizeBytes - this.#last.length;
    this.#sizeBytes += piece.length;
    for (let [place] = this.#places; place !== undefined && place <= this.#sizeBytes; [place] = this.#places) {
      this.#places.shift();
      this.#tailsAt.set(place, digestOf(joined.subarray(place - tailBytes(place) - start, place - start)));
    }
    this.#last = joined.subarray(Math.max(0, joined.length - digestBytes));
  }

  end(): PlainText {
    return { sizeBytes: this.#sizeBytes, head: this.#head, tail: digestOf(this.#last), tailsAt: this.#tailsAt };
  }
}
