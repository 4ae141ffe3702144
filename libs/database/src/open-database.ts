import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { PrismaClient, type Prisma } from '../generated/client.ts';
import { connectionConfig } from './connection-config.ts';
import { translateDatabaseError } from './database-error.ts';

/** What rows are read and written through: the client itself or a transaction of it. */
export type Transaction = Prisma.TransactionClient;

/** A client never waits longer than this for a connection before it says database_unreachable. */
const connectTimeoutMs = 5_000;

/** A process that froze inside a transaction loses its locks after this; every transaction of ours is far shorter. */
const idleInTransactionTimeoutMs = 60_000;

/** Enough for a process that serves a few requests or runs at a time; each connection costs the server some MB. */
const defaultPoolSize = 8;

export interface DatabaseOptions {
  /** `postgresql://user:password@host:port/database`. */
  readonly url: string;
  /** The most connections that are open at once; 8 when not given. */
  readonly poolSize?: number;
  /** Shown in pg_stat_activity: which process holds the connection. */
  readonly applicationName: string;
}

export interface Database extends AsyncDisposable {
  /** Its errors are translated: a lost or refused connection is `database_unreachable`. */
  readonly client: PrismaClient;
  /** The connections under the client, for session locks and replication of notifications. */
  readonly pool: pg.Pool;
  /** Waits for the queries in flight, then closes every connection. May be called twice. */
  close(): Promise<void>;
}

/**
 * Opens a pool and asks the server one question, so that a wrong URL is told at once.
 * Sessions run in UTC whatever the server's setting is: adapter-pg drops the offset of what it reads.
 * Nothing is left open when it fails. Codes: database_unreachable, configuration_invalid.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const pool = new pg.Pool({
    ...connectionConfig(options.url, options.applicationName),
    max: options.poolSize ?? defaultPoolSize,
    connectionTimeoutMillis: connectTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
  });
  // A connection that dies while idle is replaced on the next query, which is where a lasting outage is told.
  pool.on('error', () => undefined);
  const client = translatingClient(pool);
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= client.$disconnect().then(() => (pool.ended ? undefined : pool.end())));
  try {
    await client.$queryRaw`SELECT 1`;
  } catch (error) {
    await close();
    throw translateDatabaseError(error);
  }
  return { client, pool, close, [Symbol.asyncDispose]: close };
}

function translatingClient(pool: pg.Pool): PrismaClient {
  const client = new PrismaClient({ adapter: new PrismaPg(pool), errorFormat: 'minimal' });
  const translating = client.$extends({
    query: {
      async $allOperations({ args, query }) {
        try {
          return await query(args);
        } catch (error) {
          throw translateDatabaseError(error);
        }
      },
    },
  });
  // The extension changes no signature, only what is thrown; the plain type is the one that others can name.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return translating as unknown as PrismaClient;
}
