import { HoldfastError } from '@holdfast/errors/holdfast-error';
import pg from 'pg';
import type { Duplex } from 'node:stream';
import { connectionPlace, type ConnectionOptions } from '../connection-options.ts';
import { connecting, translateSessionError } from './session-error.ts';
import { clientConfig } from './client-config.ts';
import type { CopiedRows } from './copy-frames.ts';
import { CopyInQuery } from './copy-in-query.ts';
import { FramedSocket } from './framed-socket.ts';

/** One row as the server's texts. */
export type Row = readonly (string | null)[];

interface SessionFacts {
  readonly place: string;
  readonly user: string;
  readonly database: string;
}

export interface CopyOutOptions {
  /** What is being done, for messages. */
  readonly action: string;
  /** Says which ends of rows are chosen: see CopiedRows. */
  readonly key?: bigint;
}

/** How long a connection gets to say goodbye. */
const endTimeoutMs = 2_000;

/**
 * One connection for SQL and COPY, one call at a time. All its calls throw postgresql_* codes that say what was done and where; a
 * connection after which the server may still be sending is closed and of no more use.
 */
export class Session implements AsyncDisposable {
  readonly place: string;
  readonly user: string;
  readonly #database: string;
  readonly #client: pg.Client;
  readonly #framed: FramedSocket;
  readonly #socket: Duplex;
  #lost: unknown;

  /** Use openSession. */
  constructor(client: pg.Client, framed: FramedSocket, socket: Duplex, { place, user, database }: SessionFacts) {
    this.#client = client;
    this.#framed = framed;
    this.#socket = socket;
    this.place = place;
    this.user = user;
    this.#database = database;
    client.on('error', (error) => (this.#lost ??= error));
    framed.take(socket);
  }

  get isUsable(): boolean {
    return this.#lost === undefined && !this.#socket.destroyed;
  }

  /** Rows of the last statement of a query; several statements only without values. */
  async query(sql: string, values: readonly unknown[] = [], action = 'asking'): Promise<readonly Row[]> {
    try {
      const config = { text: sql, rowMode: 'array' as const, ...(values.length === 0 ? {} : { values: [...values] }) };
      const result: unknown = await this.#client.query<(string | null)[]>(config);
      const last = Array.isArray(result) ? result.at(-1) : result;
      return rowsOf(last);
    } catch (error) {
      throw this.#translate(error, action);
    }
  }

  /**
   * What `COPY … TO STDOUT` sends, as it comes; a piece is valid until the next one is asked for. Who stops reading before its end closes the
   * connection. Returns the row count.
   */
  async *copyOut(sql: string, { action, key = 0n }: CopyOutOptions): AsyncGenerator<CopiedRows, number, undefined> {
    const framed = this.#framed;
    framed.beginRows(key);
    const copied = this.#client.query(sql).finally(() => framed.endRows());
    // Told when the rows are taken that came before.
    copied.catch(() => undefined);
    try {
      for (let rows = await framed.nextRows(); rows !== null; rows = await framed.nextRows()) yield rows;
      const { rowCount } = await copied;
      return rowCount ?? 0;
    } catch (error) {
      throw this.#translate(error, action);
    } finally {
      if (!framed.haveRowsEnded) this.destroy();
      framed.dropRows();
    }
  }

  /** Sends chunks to `COPY … FROM STDIN`; returns the rows that the server took. On an error of `chunks` the COPY fails at the server. */
  async copyIn(sql: string, chunks: AsyncIterable<Uint8Array>, action: string): Promise<number> {
    const query = new CopyInQuery(sql, chunks, this.#socket);
    this.#client.query(query);
    try {
      return await query.finished;
    } catch (error) {
      throw this.#translate(error, action);
    }
  }

  /** Ends a backend that is in the middle of something: it rolls back once it notices. */
  destroy(): void {
    this.#lost ??= new HoldfastError('postgresql_unreachable', `the connection to ${this.place} was closed`);
    this.#socket.destroy();
  }

  async close(): Promise<void> {
    if (this.isUsable) {
      const timer = setTimeout(() => this.#socket.destroy(), endTimeoutMs);
      // What fails while saying goodbye has no consequence: the server ends the backend when the socket closes.
      await this.#client.end().catch(() => this.#socket.destroy());
      clearTimeout(timer);
    }
    this.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #translate(error: unknown, action: string): HoldfastError {
    return translateSessionError(error, { action, place: this.place, user: this.user, database: this.#database });
  }
}

/** Codes: postgresql_unreachable, postgresql_login_failed, postgresql_tls_failed. */
export async function openSession(connection: ConnectionOptions, signal?: AbortSignal): Promise<Session> {
  const { user, database } = connection;
  const place = `${connectionPlace(connection)}/${database}`;
  const framed = new FramedSocket();
  const own = connection.tls.mode === 'disable' ? { stream: () => framed.openSocket() } : {};
  const client = new pg.Client({ ...clientConfig(connection), ...own });
  const socketOf = (): Duplex => {
    // oxlint-disable-next-line no-unsafe-type-assertion -- `connection` is public in pg, but not in its declarations
    const { connection: wire } = client as unknown as { readonly connection: { readonly stream: Duplex } };
    return wire.stream;
  };
  const onAbort = (): void => void socketOf().destroy();
  // What goes wrong until the session listens is thrown by connect; a second word about it has nobody to go to.
  client.on('error', () => undefined);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    await client.connect();
    return new Session(client, framed, socketOf(), { place, user, database });
  } catch (error) {
    socketOf().destroy();
    signal?.throwIfAborted();
    throw translateSessionError(error, { action: connecting, place, user, database });
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

function rowsOf(result: unknown): readonly Row[] {
  const rows: unknown = typeof result === 'object' && result !== null ? Reflect.get(result, 'rows') : undefined;
  // oxlint-disable-next-line no-unsafe-type-assertion -- rowMode array and the parser of clientConfig make every value a text or null
  return Array.isArray(rows) ? (rows as Row[]) : [];
}
