import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CopyFrames, type CopiedRows } from './copy-frames.ts';

/**
 * A connection's socket, read into CopyFrames: without TLS right into its memory, which spares a buffer for each read and the work of
 * clearing millions of them away. What is no row is given to `pg` as the socket's `data`.
 */
export class FramedSocket {
  readonly #frames = new CopyFrames({ onOther: (bytes) => this.#giveOther(bytes) });
  #socket: Duplex | undefined;
  #giveOther: (bytes: Buffer) => void = () => {};
  #wake: (() => void) | undefined;
  haveRowsEnded = true;

  /** For `pg` to connect with, where it does not make one with TLS by itself. */
  openSocket(): Socket {
    const socket = new Socket({ onread: { buffer: this.#frames.room, callback: (count) => this.#push(socket, count) } });
    this.#socket = socket;
    this.#giveOther = (bytes) => void socket.emit('data', bytes);
    return socket;
  }

  /** The socket that `pg` has connected, with TLS or without; at the border of a message. */
  take(socket: Duplex): void {
    if (socket === this.#socket) return;
    this.#socket = socket;
    const listeners = socket.listeners('data');
    socket.removeAllListeners('data');
    this.#giveOther = (bytes) => {
      for (const listener of listeners) Reflect.apply(listener, socket, [bytes]);
    };
    socket.on('data', (chunk: Buffer) => this.#copy(socket, chunk));
  }

  /** Rows follow, of which some ends are chosen by `key`: see CopiedRows. */
  beginRows(key: bigint): void {
    this.haveRowsEnded = false;
    this.#frames.beginRows(key);
  }

  /** No more rows come than have been read by now. */
  endRows(): void {
    this.haveRowsEnded = true;
    this.#wake?.();
  }

  /** The next rows, valid until the next call; null when there are no more. */
  async nextRows(): Promise<CopiedRows | null> {
    for (;;) {
      const rows = this.#frames.takeRows();
      if (rows !== null) {
        this.#socket?.resume();
        return rows;
      }
      if (this.haveRowsEnded) return null;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  /** Nobody wants the rows that are there, nor others that come. */
  dropRows(): void {
    this.#frames.dropRows();
    this.#socket?.resume();
  }

  #copy(socket: Duplex, chunk: Buffer): void {
    const { room } = this.#frames;
    // TLS comes in records of 16 KiB.
    for (let at = 0; at < chunk.length; at += room.length) {
      const part = chunk.subarray(at, at + room.length);
      room.set(part);
      if (!this.#push(socket, part.length)) socket.pause();
    }
  }

  /** False when nothing more is to be read for now. */
  #push(socket: Duplex, count: number): boolean {
    try {
      this.#frames.push(count);
    } catch (error) {
      socket.destroy(error instanceof Error ? error : new Error(String(error)));
      return false;
    }
    this.#wake?.();
    return !this.#frames.isFull;
  }
}
