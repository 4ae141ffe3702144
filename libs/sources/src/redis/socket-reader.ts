import type { Socket } from 'node:net';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { connectionError } from './redis-error.ts';

export interface SocketReaderOptions {
  /** `default@cache.internal:6379` */
  readonly place: string;
  /** The longest that the other side may say nothing while something is asked of it. Milliseconds. */
  readonly silenceLimitMs: number;
  /** What ended the socket, when it is aborted. */
  readonly signal: AbortSignal;
}

/** A line of the protocol is a number or a message. */
const maxLineBytes = 64 * 1024;
/** proto-max-bulk-len, and the two bytes behind it. */
const maxExactBytes = 512 * 1024 * 1024 + 2;
const newline = 10;

/** Reads what a server sends, no faster than it is asked for. Codes: redis_interrupted, redis_failed (what no server of this kind says). */
export class SocketReader {
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #socket: Socket;
  readonly #options: SocketReaderOptions;
  #held: Buffer = Buffer.alloc(0);

  constructor(socket: Socket, options: SocketReaderOptions) {
    this.#socket = socket;
    this.#options = options;
    // oxlint-disable-next-line no-unsafe-type-assertion -- without an encoding a socket gives Buffers
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    // Whoever reads hears of it; nobody may be reading.
    socket.on('error', () => {});
  }

  /** Without its end, which is CR LF, or LF alone. */
  async line(): Promise<string> {
    for (let searched = 0; ;) {
      const end = this.#held.indexOf(newline, searched);
      if (end !== -1) {
        const line = this.#held.subarray(0, end).toString();
        this.#held = this.#held.subarray(end + 1);
        return line.endsWith('\r') ? line.slice(0, -1) : line;
      }
      searched = this.#held.length;
      if (searched > maxLineBytes) throw new HoldfastError('redis_failed', `${this.#options.place} does not speak the protocol of Redis`);
      this.#held = Buffer.concat([this.#held, await this.#more()]);
    }
  }

  async exactly(bytes: number): Promise<Buffer> {
    if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > maxExactBytes) {
      throw new HoldfastError('redis_failed', `${this.#options.place} announces an answer of ${bytes} bytes`);
    }
    const parts: Buffer[] = [];
    for (let missing = bytes; missing > 0;) {
      const part = await this.some(missing);
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts);
  }

  /** What is there, at least one byte, at most so many. */
  async some(maxBytes: number): Promise<Buffer> {
    if (this.#held.length === 0) this.#held = await this.#more();
    const part = this.#held.subarray(0, maxBytes);
    this.#held = this.#held.subarray(part.length);
    return part;
  }

  async #more(): Promise<Buffer> {
    const { place, silenceLimitMs, signal } = this.#options;
    const fallsSilent = (): void => {
      this.#socket.destroy(new HoldfastError('redis_interrupted', `${place} said nothing for ${silenceLimitMs / 1000} s`));
    };
    const timer = setTimeout(fallsSilent, silenceLimitMs);
    try {
      const next = await this.#chunks.next();
      if (next.done !== true) return next.value;
    } catch (error) {
      signal.throwIfAborted();
      throw connectionError(error, place, true);
    } finally {
      clearTimeout(timer);
    }
    signal.throwIfAborted();
    throw new HoldfastError('redis_interrupted', `${place} closed the connection`);
  }
}
