import { Readable } from 'node:stream';
import { hashOfParts, lengthOf, pieces } from '../remote/body.ts';

/** What is handed to the connection at once: so little more than the connection takes is on its way when a call is aborted. */
const sentPieceSizeBytes = 64 * 1024;

/** What a put sends, and how the server can tell that it arrived as it was. */
export interface S3Body {
  readonly lengthBytes: number;
  /** Hex; the signature of the request covers it, and with it the body. */
  readonly sha256: string;
  /** Base64, for the header Content-MD5, which buckets with an object lock demand. */
  readonly md5: string | undefined;
  /** The bytes as they lie in memory, without a copy; for one try each. */
  open(): Readable;
  /** Whether all of it has been taken from what was opened last, so that the server may have it whole. */
  isHandedOver(): boolean;
}

export interface S3Hashes {
  /** Where it is known already. */
  readonly sha256?: string | undefined;
  /** Whether the server wants Content-MD5. */
  readonly needsMd5: boolean;
}

/** Makes the hashes that are missing. Rejects with the signal's reason. */
export async function readS3Body(
  parts: readonly Uint8Array[],
  { sha256, needsMd5 }: S3Hashes,
  signal: AbortSignal | undefined,
): Promise<S3Body> {
  const lengthBytes = lengthOf(parts);
  let leftBytes: number | undefined;
  return {
    lengthBytes,
    sha256: sha256 ?? (await hashOfParts('sha256', parts, signal)).toString('hex'),
    md5: needsMd5 ? (await hashOfParts('md5', parts, signal)).toString('base64') : undefined,
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
