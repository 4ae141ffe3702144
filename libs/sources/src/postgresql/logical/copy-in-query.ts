import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import pg from 'pg';

/** What `pg` gives to a query that the server asks for data. */
interface CopyInConnection {
  /** Takes nothing but a Buffer, and copies it. */
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
  sendCopyFail(message: string): void;
}

/** One message each: small chunks are sent as they come, larger ones are no gain. */
const maxMessageBytes = 256 * 1024;

/** A query of `pg` that answers the server's request for data with `chunks`. */
export class CopyInQuery extends pg.Query {
  /** The rows that the server took. */
  readonly finished: Promise<number>;
  readonly #chunks: AsyncIterable<Uint8Array>;
  readonly #socket: Duplex;
  readonly #ended = new AbortController();
  #chunkError: { readonly error: unknown } | undefined;

  constructor(sql: string, chunks: AsyncIterable<Uint8Array>, socket: Duplex) {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    super(sql, (error: unknown, result: unknown) => {
      this.#ended.abort();
      if (this.#chunkError !== undefined) reject(this.#chunkError.error);
      else if (error instanceof Error) reject(error);
      else resolve(rowCountOf(result));
    });
    this.finished = promise;
    this.#chunks = chunks;
    this.#socket = socket;
  }

  /** Called by `pg`. */
  handleCopyInResponse(connection: CopyInConnection): void {
    void this.#send(connection);
  }

  async #send(connection: CopyInConnection): Promise<void> {
    try {
      for await (const chunk of this.#chunks) {
        for (let at = 0; at < chunk.length; at += maxMessageBytes) {
          if (this.#ended.signal.aborted) return;
          const lengthBytes = Math.min(maxMessageBytes, chunk.length - at);
          connection.sendCopyFromChunk(Buffer.from(chunk.buffer, chunk.byteOffset + at, lengthBytes));
          if (this.#socket.writableNeedDrain) await this.#drained();
        }
      }
      if (!this.#ended.signal.aborted) connection.endCopyFrom();
    } catch (error) {
      // The server answers a failed COPY with an error, which ends the query; the cause is this one.
      this.#chunkError = { error };
      if (!this.#ended.signal.aborted) connection.sendCopyFail('the data could not be read');
    }
  }

  /** A query that the server ended, or a connection that is gone, drains no more. */
  async #drained(): Promise<void> {
    const { signal } = this.#ended;
    await once(this.#socket, 'drain', { signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }
}

function rowCountOf(result: unknown): number {
  const count: unknown = typeof result === 'object' && result !== null ? Reflect.get(result, 'rowCount') : undefined;
  return typeof count === 'number' ? count : 0;
}
