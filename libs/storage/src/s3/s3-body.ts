import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';

/** Between two pieces of hashing other work has its turn; some milliseconds. */
const hashPieceSizeBytes = 4 * 1024 * 1024;
/** What is handed to the connection at once: so little more than the connection takes is on its way when a call is aborted. */
const sentPieceSizeBytes = 64 * 1024;

/** What a put sends, and how the server can tell that it arrived as it was. */
export interface S3Body {
  readonly lengthBytes: number;
  /** Hex; the signature of the request covers it, and with it the body. */
  readonly sha256: string;
  /** Base64, for the header Content-MD5: buckets with an object lock demand it. */
  readonly md5: string;
  /** The bytes as they lie in memory, without a copy; for one try each. */
  open(): Readable;
  /** Whether all of it has been taken from what was opened last, so that the server may have it whole. */
  isHandedOver(): boolean;
}

/** Hashes the parts. Rejects with the signal's reason. */
export async function readS3Body(parts: readonly Uint8Array[], signal: AbortSignal | undefined): Promise<S3Body> {
  const sha256 = createHash('sha256');
  const md5 = createHash('md5');
  let lengthBytes = 0;
  let sinceTurnBytes = 0;
  for (const piece of pieces(parts, hashPieceSizeBytes)) {
    sha256.update(piece);
    md5.update(piece);
    lengthBytes += piece.byteLength;
    sinceTurnBytes += piece.byteLength;
    if (sinceTurnBytes < hashPieceSizeBytes) continue;
    sinceTurnBytes = 0;
    await turn();
    signal?.throwIfAborted();
  }
  let leftBytes: number | undefined;
  return {
    lengthBytes,
    sha256: sha256.digest('hex'),
    md5: md5.digest('base64'),
    open() {
      leftBytes = lengthBytes;
      return readable(pieces(parts, sentPieceSizeBytes), (takenBytes) => (leftBytes = (leftBytes ?? 0) - takenBytes));
    },
    isHandedOver: () => leftBytes === 0,
  };
}

function readable(rest: Iterator<Uint8Array, void>, onTaken: (takenBytes: number) => void): Readable {
  return new Readable({
    highWaterMark: sentPieceSizeBytes,
    read() {
      const piece = rest.next();
      if (piece.done === true) {
        this.push(null);
        return;
      }
      onTaken(piece.value.byteLength);
      this.push(piece.value);
    },
  });
}

function* pieces(parts: readonly Uint8Array[], sizeBytes: number): Generator<Uint8Array, void, undefined> {
  for (const part of parts) {
    for (let begin = 0; begin < part.byteLength; begin += sizeBytes) yield part.subarray(begin, begin + sizeBytes);
  }
}

/**
 * Reads a body of exactly that length into an array of its own. Undefined when it has another one; the connection is ended then and
 * whenever reading fails.
 */
export async function readExactly(stream: Readable, lengthBytes: number): Promise<Uint8Array | undefined> {
  // Not from Node's pool: the caller owns the array and may hand its buffer to another thread.
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(lengthBytes).buffer);
  let done = 0;
  const chunks: AsyncIterable<Uint8Array> = stream;
  for await (const chunk of chunks) {
    if (done + chunk.byteLength > lengthBytes) return undefined;
    bytes.set(chunk, done);
    done += chunk.byteLength;
  }
  return done === lengthBytes ? bytes : undefined;
}

/** The body without a byte more than the limit: a listing, or an error, of a server that means harm would fill the memory. */
export function bounded(stream: Readable, limitBytes: number): Readable {
  return Readable.from(upTo(stream, limitBytes), { objectMode: false });
}

async function* upTo(stream: AsyncIterable<Uint8Array>, limitBytes: number): AsyncGenerator<Uint8Array> {
  let leftBytes = limitBytes;
  for await (const chunk of stream) {
    leftBytes -= chunk.byteLength;
    if (leftBytes < 0) throw Object.assign(new Error(`the answer is larger than ${limitBytes} bytes`), { code: 'EMSGSIZE' });
    yield chunk;
  }
}
