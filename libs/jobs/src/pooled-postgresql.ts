import { EventEmitter } from 'node:events';
import { Pool, type PoolClient, type PoolConfig, type QueryResult } from 'pg';

/**
 * One small pool, and one connection that listens, for any number of BullMQ's Queues and Workers. Each of them would open its own: six
 * queues a label at each worker, two connections a queue, of which PostgreSQL has a hundred. BullMQ takes a pool of its user's, and asks
 * it for a client to listen with; here all of them are given the same one.
 */
export interface PooledPostgresql {
  /** Stands in for a pg.Pool: as much of one as BullMQ uses. */
  readonly pool: {
    query(text: string, values?: unknown[]): Promise<QueryResult>;
    on(event: 'error', listener: (error: Error) => void): unknown;
    connect(): Promise<ListeningClient>;
    end(): Promise<void>;
    readonly options: { readonly keepAlive: true };
  };
  /** Ends the connections, once the queues are closed; what is opened afterwards makes new ones. */
  close(): Promise<void>;
}

/** Queries are short; while all are taken the others wait some milliseconds. */
const poolSize = 4;

export function createPooledPostgresql(config: PoolConfig): PooledPostgresql {
  // Each queue listens for errors: BullMQ passes them on to those who opened it.
  const errors = new EventEmitter().setMaxListeners(0).on('error', () => undefined);
  let opened: { readonly pool: Pool; readonly listener: SharedListener } | undefined;
  const open = (): NonNullable<typeof opened> => {
    if (opened !== undefined) return opened;
    const pool = new Pool({ ...config, max: poolSize, keepAlive: true, allowExitOnIdle: true });
    pool.on('error', (error) => errors.emit('error', error));
    opened = { pool, listener: new SharedListener(pool) };
    return opened;
  };
  return {
    pool: {
      query: (text, values) => open().pool.query(text, values),
      on: (event, listener) => errors.on(event, listener),
      connect: () => open().listener.connect(),
      end: () => Promise.resolve(),
      options: { keepAlive: true },
    },
    async close() {
      const closing = opened;
      opened = undefined;
      await closing?.pool.end();
    },
  };
}

/** A client that several have in common; it is closed when the last of them is done. */
class SharedListener {
  readonly #pool: Pool;
  #shared: { readonly client: Promise<PoolClient>; readonly users: Set<ListeningClient>; pendingCount: number } | undefined;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  async connect(): Promise<ListeningClient> {
    const shared = (this.#shared ??= { client: this.#open(), users: new Set(), pendingCount: 0 });
    // Counted from now on: the last of the others may leave before this one has come.
    shared.pendingCount++;
    try {
      const client = await shared.client;
      const user = new ListeningClient(client, () => {
        if (!shared.users.delete(user) || shared.users.size + shared.pendingCount > 0) return;
        if (this.#shared === shared) this.#shared = undefined;
        client.release(true);
      });
      shared.users.add(user);
      return user;
    } catch (error) {
      if (this.#shared === shared) this.#shared = undefined;
      throw error;
    } finally {
      shared.pendingCount--;
    }
  }

  async #open(): Promise<PoolClient> {
    const client = await this.#pool.connect();
    const shared = this.#shared;
    client.on('notification', (message) => {
      for (const user of shared?.users ?? []) user.emit('notification', message);
    });
    client.on('error', (error) => {
      const users = [...(shared?.users ?? [])];
      shared?.users.clear();
      if (this.#shared === shared) this.#shared = undefined;
      if (users.length > 0) client.release(error);
      for (const user of users) if (user.listenerCount('error') > 0) user.emit('error', error);
    });
    return client;
  }
}

/** What one queue sees of the shared client: its own listeners, and queries one after the other with those of the others. */
class ListeningClient extends EventEmitter {
  readonly #client: PoolClient;
  readonly #leave: () => void;

  constructor(client: PoolClient, leave: () => void) {
    super();
    this.#client = client;
    this.#leave = leave;
  }

  async query(text: string, values?: unknown[]): Promise<QueryResult> {
    const before = lastQueries.get(this.#client);
    const query = (async () => {
      await before?.catch(() => undefined);
      return this.#client.query(text, values);
    })();
    lastQueries.set(this.#client, query);
    return query;
  }

  release(): void {
    this.removeAllListeners();
    this.#leave();
  }
}

const lastQueries = new WeakMap<PoolClient, Promise<unknown>>();
