import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { PartFacts, PartMoment, ServerPart } from '../application-data/part.ts';
import { MadeUpSource } from '../made-up-source.ts';
import { textContent, type FileContent } from '../postgresql/logical/stream-file.ts';
import type { Source } from '../source.ts';
import { redisPlace, type RedisConnectionOptions } from './connection-options.ts';
import { RdbCheck, type CheckedRdb } from './rdb-check.ts';
import { beginRdbTransfer, type RdbTransfer } from './rdb-transfer.ts';
import { RedisConnection } from './redis-connection.ts';
import { redisReadme } from './redis-readme.ts';

export interface RedisPartOptions {
  readonly name: string;
  readonly connection: RedisConnectionOptions;
  /** Ends all waiting and the connection. */
  readonly signal: AbortSignal;
}

/** While another replica is being given an older copy we would be given the same one; that ends, or we do. */
const olderCopyLimitMs = 120_000;
const olderCopyPollMs = 250;

/**
 * A Redis, Valkey or KeyDB server as two files, `dump.rdb` and `README.txt`: a copy over replication, streamed, with no file on the way.
 * Its moment is the server's fork. Connects when the moment is taken. Codes of takeMoment: redis_unreachable, _login_failed, _tls_failed,
 * _denied, _busy, _interrupted; of reading also redis_stream_damaged, when what came is not a whole RDB file.
 */
export function openRedisPart(options: RedisPartOptions): ServerPart {
  return new RedisPart(options);
}

/** What the server said of itself just before the fork. */
interface ServerFacts {
  readonly product: string;
  readonly version: string;
  readonly keys: PartFacts;
  readonly isCluster: boolean;
}

interface Begun {
  readonly connection: RedisConnection;
  readonly transfer: RdbTransfer;
  readonly server: ServerFacts;
  readonly takenAtMs: number;
}

class RedisPart implements ServerPart {
  readonly kind = 'redis';
  readonly name: string;
  readonly source: Source;
  readonly #options: RedisPartOptions;
  readonly #closed = new AbortController();
  readonly #signal: AbortSignal;
  #begun: Promise<Begun> | undefined;
  #checked: CheckedRdb | undefined;

  constructor(options: RedisPartOptions) {
    this.name = options.name;
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#closed.signal]);
    this.source = new MadeUpSource({
      list: async () => {
        const { takenAtMs, server } = await this.#begin();
        const readme = redisReadme(redisPlace(options.connection), server.version);
        return {
          timeMs: takenAtMs,
          files: [
            { path: '/README.txt', open: () => textContent(readme) },
            { path: '/dump.rdb', open: () => this.#content() },
          ],
        };
      },
      paths: ['/README.txt', '/dump.rdb'],
      holdsRecords: false,
      close: () => this.close(),
    });
  }

  async inspect(): Promise<void> {
    await using connection = await RedisConnection.open(this.#options.connection, this.#signal);
    await readServer(connection);
  }

  async takeMoment(signal: AbortSignal): Promise<PartMoment> {
    signal.throwIfAborted();
    const end = (): void => this.#closed.abort(signal.reason);
    signal.addEventListener('abort', end, { once: true });
    try {
      const { takenAtMs, server } = await this.#begin();
      const warnings = server.isCluster
        ? [`${redisPlace(this.#options.connection)} is one node of a cluster: only the keys of its slots are here`]
        : [];
      return { takenAt: new Date(takenAtMs).toISOString(), warnings };
    } finally {
      signal.removeEventListener('abort', end);
    }
  }

  async facts(): Promise<PartFacts> {
    if (this.#checked === undefined) throw new HoldfastError('internal', 'a part that was not read to its end was asked for its facts');
    const { server, transfer } = await this.#begin();
    const { version, bytes, checksum } = this.#checked;
    return {
      place: redisPlace(this.#options.connection),
      server: server.product,
      version: server.version,
      rdbVersion: version,
      bytes,
      checksum,
      replicationId: transfer.replicationId,
      replicationOffset: transfer.offset,
      keysBefore: server.keys,
    };
  }

  async close(): Promise<void> {
    this.#closed.abort(new HoldfastError('internal', 'the part was closed'));
    await this.#begun?.then(({ connection }) => connection[Symbol.asyncDispose]()).catch(() => undefined);
  }

  #begin(): Promise<Begun> {
    if (this.#begun === undefined) {
      this.#begun = begin(this.#options.connection, this.#signal);
      // Whoever asks for the moment hears of it.
      this.#begun.catch(() => undefined);
    }
    return this.#begun;
  }

  async *#content(): FileContent {
    const { connection, transfer } = await this.#begin();
    const check = new RdbCheck(connection.place);
    try {
      for await (const piece of transfer.content()) {
        check.update(piece);
        yield piece;
      }
      this.#checked = check.end();
    } finally {
      await connection[Symbol.asyncDispose]();
    }
  }
}

async function begin(options: RedisConnectionOptions, signal: AbortSignal): Promise<Begun> {
  const giveUpAtMs = performance.now() + olderCopyLimitMs;
  for (;;) {
    const connection = await RedisConnection.open(options, signal);
    try {
      const server = await readServer(connection);
      const before = Number((await connection.info('replication')).get('master_repl_offset') ?? 0);
      const takenAtMs = Date.now();
      const transfer = await beginRdbTransfer(connection);
      if (transfer.offset >= before) return { connection, transfer, server, takenAtMs };
    } catch (error) {
      await connection[Symbol.asyncDispose]();
      signal.throwIfAborted();
      throw error;
    }
    await connection[Symbol.asyncDispose]();
    if (performance.now() > giveUpAtMs) {
      throw new HoldfastError(
        'redis_busy',
        `${connection.place} was giving another replica an older copy for ${olderCopyLimitMs / 1000} s`,
      );
    }
    await delay(olderCopyPollMs, undefined, { signal });
  }
}

async function readServer(connection: RedisConnection): Promise<ServerFacts> {
  const about = await connection.info('server');
  const keyspace = await connection.info('keyspace');
  const keys = Object.fromEntries([...keyspace].map(([database, counts]) => [database, countsOf(counts)]));
  const valkey = about.get('valkey_version');
  return {
    product: about.get('server_name') ?? 'redis',
    version: valkey ?? about.get('redis_version') ?? 'unknown',
    keys,
    isCluster: about.get('redis_mode') === 'cluster',
  };
}

/** `keys=3,expires=1,avg_ttl=0`. */
function countsOf(text: string): PartFacts {
  const numbers = new Map(text.split(',').map((pair) => [pair.split('=')[0] ?? '', Number(pair.split('=')[1])]));
  return { keys: numbers.get('keys') ?? 0, expires: numbers.get('expires') ?? 0 };
}
