import type { Socket } from 'node:net';

/**
 * What arrives on a socket, to be taken byte by byte without a copy. The socket is paused while more is waiting than `limitBytes`, so a
 * slow taker slows the sender down, by way of TCP, instead of filling memory.
 */

/** Enough that the sender goes on while we work, little enough beside a worker's memory. */
const limitBytes = 1024 * 1024;

export class ByteReader {
  readonly #socket: Socket;
  readonly #chunks: Buffer[] = [];
  /** Where in the first chunk the next byte lies. */
  #offset = 0;
  #waitingBytes = 0;
  #isPaused = false;
  #failure: { readonly reason: unknown } | null = null;
  #wake: (() => void) | null = null;
  receivedBytes = 0;

  /** Takes the socket over: whoever listened for its data hears nothing any more. `onEnd` makes the reason out of an error, or of none. */
  constructor(socket: Socket, onEnd: (error: Error | null) => unknown) {
    this.#socket = socket;
    socket.removeAllListeners('data');
    socket.on('data', (chunk: Buffer) => this.#add(chunk));
    socket.on('error', (error) => this.fail(onEnd(error)));
    // A half-closed connection is of no use: the server always has the last word.
    socket.on('end', () => this.fail(onEnd(null)));
    socket.on('close', () => this.fail(onEnd(null)));
    socket.resume();
  }

  /** What is waiting can still be taken; then `more` rejects with the reason. The first one counts. */
  fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#awake();
  }

  throwIfEnded(): void {
    if (this.#failure !== null) throw this.#failure.reason;
  }

  /** Drops what is waiting, so that the next `more` rejects. */
  drop(): void {
    this.#chunks.length = 0;
    this.#offset = 0;
    this.#waitingBytes = 0;
  }

  #add(chunk: Buffer): void {
    this.receivedBytes += chunk.length;
    this.#chunks.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes > limitBytes && !this.#isPaused) {
      this.#isPaused = true;
      this.#socket.pause();
    }
    this.#awake();
  }

  #awake(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** Resolves when something is waiting; rejects with the reason when nothing is and nothing will be. For one taker at a time. */
  async more(): Promise<void> {
    while (this.#waitingBytes === 0) await this.moreThan(0);
  }

  /** Resolves when more than `bytes` are waiting. */
  async moreThan(bytes: number): Promise<void> {
    while (this.#waitingBytes <= bytes) {
      this.throwIfEnded();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The byte `offset` bytes on; -1 when it is not waiting. */
  peek(offset: number): number {
    let at = this.#offset + offset;
    for (const chunk of this.#chunks) {
      if (at < chunk.length) return chunk[at] ?? -1;
      at -= chunk.length;
    }
    return -1;
  }

  /** What is waiting in one piece, at most `maxBytes`; null when nothing is. A view that stays valid. */
  takeSome(maxBytes: number): Buffer | null {
    const chunk = this.#chunks[0];
    if (chunk === undefined || maxBytes === 0) return null;
    const end = Math.min(chunk.length, this.#offset + maxBytes);
    const taken = this.#offset === 0 && end === chunk.length ? chunk : chunk.subarray(this.#offset, end);
    if (end === chunk.length) {
      this.#chunks.shift();
      this.#offset = 0;
    } else {
      this.#offset = end;
    }
    this.#waitingBytes -= taken.length;
    if (this.#isPaused && this.#waitingBytes <= limitBytes / 2) {
      this.#isPaused = false;
      this.#socket.resume();
    }
    return taken;
  }

  /** Exactly `byteCount` bytes, copied only where they lie in several chunks; null when fewer are waiting. */
  tryTake(byteCount: number): Buffer | null {
    if (this.#waitingBytes < byteCount) return null;
    const first = this.takeSome(byteCount);
    if (first === null) return Buffer.alloc(0);
    if (first.length === byteCount) return first;
    const whole = Buffer.allocUnsafe(byteCount);
    let filled = first.copy(whole);
    while (filled < byteCount) filled += this.takeSome(byteCount - filled)?.copy(whole, filled) ?? 0;
    return whole;
  }

  /** Exactly `byteCount` bytes. Rejects with the reason when the connection ends before. For small counts: they are all held. */
  async take(byteCount: number): Promise<Buffer> {
    for (;;) {
      const taken = this.tryTake(byteCount);
      if (taken !== null) return taken;
      // The socket may be paused with less waiting than is asked for.
      if (this.#isPaused) {
        this.#isPaused = false;
        this.#socket.resume();
      }
      await this.moreThan(this.#waitingBytes);
    }
  }
}
