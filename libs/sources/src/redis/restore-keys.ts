import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { RedisConnectionOptions } from './connection-options.ts';
import { crc64, crc64Bytes, crc64Start } from './crc64.ts';
import { readRdb, type RdbRecord } from './rdb-records.ts';
import { RedisConnection } from './redis-connection.ts';

export interface RestoreKeysOptions {
  /** An RDB file, in order. */
  readonly dump: AsyncIterable<Uint8Array>;
  readonly connection: RedisConnectionOptions;
  /** Only keys that begin with one of these, and no functions; all when absent. */
  readonly keyPrefixes?: readonly string[] | undefined;
  /** Whether keys of the same name are replaced; else a server that holds any is refused. */
  readonly overwrite: boolean;
  /** Hears once that the server has been looked at and keys follow. */
  readonly onBegin?: () => Promise<void>;
  readonly onProgress: (value: { readonly keysDone: number; readonly bytesDone: number }) => void;
  readonly signal: AbortSignal;
}

export interface RestoredKeys {
  readonly keyCount: number;
  /** Had expired since the backup. */
  readonly expiredCount: number;
  readonly libraryCount: number;
  readonly bytes: number;
  readonly failedCount: number;
  /** Some of those that the server did not take, with its reasons. */
  readonly failed: readonly { readonly what: string; readonly reason: string }[];
}

/** Answers are collected when so much is on its way: enough to hide a network, and little of a server's memory. */
const windowBytes = 4 * 1024 * 1024;
const windowCommands = 1000;
/** A row is read whole by every list. */
const maxListed = 100;
const maxShownKey = 200;

/**
 * Writes the keys of an RDB file into a server that runs, each by RESTORE, which checks its sum and version, with its expiry. Other keys
 * stay as they are. When it throws, the keys so far are there; running it again with `overwrite` ends the same. Codes: target_not_empty,
 * redis_*, repository_damaged, type_not_supported.
 */
export async function restoreKeys(options: RestoreKeysOptions): Promise<RestoredKeys> {
  const { connection, overwrite, dump, keyPrefixes, signal } = options;
  await using session = await RedisConnection.open(connection, signal);
  if (!overwrite) await refuseKeys(session);
  await options.onBegin?.();
  const writer = new KeyWriter(session, options);
  const prefixes = keyPrefixes?.map((prefix) => Buffer.from(prefix));
  try {
    for await (const record of readRdb(dump)) {
      if (prefixes === undefined || isChosen(record, prefixes)) await writer.write(record, record.version);
    }
    return await writer.end();
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

function isChosen(record: RdbRecord, prefixes: readonly Buffer[]): boolean {
  return record.kind === 'key' && prefixes.some((prefix) => record.key.subarray(0, prefix.length).equals(prefix));
}

async function refuseKeys(session: RedisConnection): Promise<void> {
  const held = [...(await session.info('keyspace'))].filter(([, counts]) => /keys=[1-9]/u.test(counts));
  if (held.length === 0) return;
  throw new HoldfastError(
    'target_not_empty',
    `${session.place} holds keys (${held.map(([name, counts]) => `${name}: ${counts}`).join('; ')})`,
    {
      hint: 'choose an empty server, or allow overwriting, which replaces keys of the same name and leaves all others',
    },
  );
}

class KeyWriter {
  readonly #session: RedisConnection;
  readonly #options: RestoreKeysOptions;
  readonly #waiting: { readonly what: string; readonly kind: 'key' | 'library' | 'database' }[] = [];
  #waitingBytes = 0;
  #database = 0;
  readonly #failed: { what: string; reason: string }[] = [];
  readonly #counts = { keyCount: 0, expiredCount: 0, libraryCount: 0, bytes: 0, failedCount: 0 };

  constructor(session: RedisConnection, options: RestoreKeysOptions) {
    this.#session = session;
    this.#options = options;
  }

  async write(record: RdbRecord, version: number): Promise<void> {
    if (record.kind === 'library') {
      const replace = this.#options.overwrite ? ['REPLACE'] : [];
      return await this.#send(['FUNCTION', 'LOAD', ...replace, record.code], { what: 'a library of functions', kind: 'library' });
    }
    const { database, key, value, expiresAtMs } = record;
    if (expiresAtMs !== null && expiresAtMs <= Date.now()) {
      this.#counts.expiredCount++;
      return;
    }
    if (database !== this.#database) {
      await this.#send(['SELECT', String(database)], { what: `database ${database}`, kind: 'database' });
      // What follows must not land in another one.
      await this.#collect();
      this.#database = database;
    }
    const replace = this.#options.overwrite ? ['REPLACE'] : [];
    const words = [
      'RESTORE',
      key,
      String(expiresAtMs ?? 0),
      payload(value, version),
      ...replace,
      ...(expiresAtMs === null ? [] : ['ABSTTL']),
    ];
    await this.#send(words, { what: key.toString('utf8').slice(0, maxShownKey), kind: 'key' });
  }

  async end(): Promise<RestoredKeys> {
    await this.#collect();
    return { ...this.#counts, failed: this.#failed };
  }

  async #send(words: readonly (string | Uint8Array)[], waiting: { what: string; kind: 'key' | 'library' | 'database' }): Promise<void> {
    await this.#session.send(words);
    this.#waiting.push(waiting);
    const bytes = words.reduce((sum, word) => sum + word.length, 0);
    this.#waitingBytes += bytes;
    this.#counts.bytes += bytes;
    if (this.#waitingBytes > windowBytes || this.#waiting.length >= windowCommands) await this.#collect();
  }

  async #collect(): Promise<void> {
    for (const { what, kind } of this.#waiting.splice(0)) {
      try {
        await this.#session.reply(kind === 'key' ? 'RESTORE' : kind === 'library' ? 'FUNCTION LOAD' : 'SELECT');
        if (kind === 'key') this.#counts.keyCount++;
        if (kind === 'library') this.#counts.libraryCount++;
      } catch (error) {
        // Of a key that it does not take a server says so; all else ends the recovery.
        if (kind === 'database' || !isHoldfastError(error, 'redis_failed')) throw error;
        this.#counts.failedCount++;
        if (this.#failed.length < maxListed) this.#failed.push({ what, reason: error.message });
      }
    }
    this.#waitingBytes = 0;
    this.#options.onProgress({ keysDone: this.#counts.keyCount, bytesDone: this.#counts.bytes });
  }
}

/** As DUMP writes it: the value, the version of its format, and the sum of both. */
function payload(value: Buffer, version: number): Buffer {
  const body = Buffer.concat([value, Buffer.of(version & 0xff, version >> 8)]);
  return Buffer.concat([body, crc64Bytes(crc64(crc64Start, body))]);
}
