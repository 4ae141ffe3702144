import { checkServerIdentity, type ConnectionOptions as TlsConnectOptions } from 'node:tls';
import { isIP, type Socket } from 'node:net';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import pg from 'pg';
import { connectionPlace, type ConnectionOptions } from './connection-options.ts';
import { connectionError, type ErrorPlace } from './postgresql-error.ts';
import { cancelLimitMs, requestCancel } from './wire/cancel-request.ts';
import { parseServerVersion, WireConnection } from './wire/wire-connection.ts';

/**
 * Two kinds of connections to a PostgreSQL server:
 *
 * - `connectDatabase`: SQL with parameters, by pg.
 * - `connectWire`: a conversation of our own that streams every kind of COPY with backpressure, as an ordinary session or as one that
 *   takes replication commands (which needs the role's REPLICATION and a line `host replication …` in pg_hba.conf).
 *
 * pg does TLS and the login for both. Nothing is taken from the environment (PGPASSWORD, PGSSLMODE, ~/.pgpass).
 */
export interface ConnectSettings {
  /** Ends the connection within a second, also in the middle of something; what waits rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface DatabaseConnection extends AsyncDisposable {
  /** 150_018 for 15.18. */
  readonly serverVersion: number;
  /** Rejects with the codes of postgresql-error.ts. One at a time. */
  query<Row extends pg.QueryResultRow = Record<string, unknown>>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  /** May be called twice. */
  close(): Promise<void>;
}

export const minServerVersion = 140_000;

const defaultConnectTimeoutMs = 15_000;
/** The first sign of a dead way to the server; Linux then gives up after some ten seconds more. */
const keepAliveDelayMs = 30_000;
const defaultApplicationName = 'holdfast';

/**
 * Opens a session for SQL. Leaves nothing open when it fails. Codes: postgresql_unreachable, postgresql_login_failed,
 * postgresql_access_rule_missing, postgresql_tls_failed, postgresql_limit_reached, postgresql_not_found,
 * postgresql_version_unsupported.
 */
export async function connectDatabase(options: ConnectionOptions, { signal }: ConnectSettings = {}): Promise<DatabaseConnection> {
  const place = errorPlace(options, false);
  const { client, cancel, parameters } = await login(options, false, signal);
  const serverVersion = parseServerVersion(parameters.get('server_version') ?? '');
  let cancelling: Promise<void> | null = null;
  const onAbort = (): void => {
    cancelling ??= cancel();
    connectionOf(client).stream.destroy();
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> =>
    (closing ??= (async () => {
      signal?.removeEventListener('abort', onAbort);
      await cancelling;
      await endClient(client);
    })());
  return {
    serverVersion,
    async query<Row extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<Row[]> {
      try {
        // Without values it is the simple protocol: several statements may follow one another, and the last one's rows count.
        const results: pg.QueryResult<Row> | pg.QueryResult<Row>[] = await client.query<Row>(
          sql,
          values === undefined ? undefined : [...values],
        );
        return (Array.isArray(results) ? results.at(-1)?.rows : results.rows) ?? [];
      } catch (error) {
        if (signal?.aborted === true) throw signal.reason;
        throw connectionError(error, { ...place, activity: 'querying' });
      }
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/**
 * Opens a conversation of our own: `replication` takes replication commands and no SQL, `database` takes SQL. Codes as of connectDatabase,
 * and postgresql_denied (no REPLICATION), postgresql_setting_missing (the server sends no WAL to anybody).
 */
export async function connectWire(
  options: ConnectionOptions,
  { mode, signal = new AbortController().signal }: ConnectSettings & { readonly mode: 'database' | 'replication' },
): Promise<WireConnection> {
  const isReplication = mode === 'replication';
  const { client, cancel, parameters } = await login(options, isReplication, signal);
  return new WireConnection({ socket: connectionOf(client).stream, parameters, place: errorPlace(options, isReplication), signal, cancel });
}

interface Login {
  readonly client: pg.Client;
  readonly parameters: Map<string, string>;
  readonly cancel: () => Promise<void>;
}

async function login(options: ConnectionOptions, isReplication: boolean, signal: AbortSignal | undefined): Promise<Login> {
  signal?.throwIfAborted();
  const place = errorPlace(options, isReplication);
  const tls = tlsOptions(options);
  const client = new pg.Client(clientConfig(options, tls, isReplication));
  const parameters = new Map<string, string>();
  // What breaks between statements is told to the next one; a client without a listener would end the process.
  client.on('error', () => undefined);
  connectionOf(client).on('parameterStatus', ({ parameterName, parameterValue }) => parameters.set(parameterName, parameterValue));
  const onAbort = (): void => void connectionOf(client).stream.destroy();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await client.connect();
    checkVersion(parameters, place.place);
  } catch (error) {
    connectionOf(client).stream.destroy();
    if (signal?.aborted === true) throw signal.reason;
    throw connectionError(error, { ...place, activity: 'connecting' });
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
  const { processID: processId, secretKey } = backendKey(client);
  const cancel = (): Promise<void> => requestCancel({ host: options.host, port: options.port, processId, secretKey, tls });
  return { client, parameters, cancel };
}

function clientConfig(options: ConnectionOptions, tls: TlsConnectOptions | null, isReplication: boolean): pg.ClientConfig {
  const { statementTimeoutMs = 0, password } = options;
  return {
    host: options.host,
    port: options.port,
    user: options.user,
    // A function, for anything else that is empty sends pg looking in the environment and in ~/.pgpass.
    password: () => password ?? '',
    database: options.database,
    application_name: options.applicationName ?? defaultApplicationName,
    ssl: tls ?? false,
    connectionTimeoutMillis: options.connectTimeoutMs ?? defaultConnectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveDelayMs,
    client_encoding: 'UTF8',
    options: `-c statement_timeout=${isReplication ? 0 : Math.floor(statementTimeoutMs)} -c DateStyle=ISO`,
    // Binds the login to the certificate (SCRAM-SHA-256-PLUS), so that nobody in between can pass it on.
    ...(tls === null ? {} : { enableChannelBinding: true }),
    ...(isReplication ? { replication: 'true' } : {}),
  };
}

function tlsOptions({ host, tls }: ConnectionOptions): TlsConnectOptions | null {
  if (tls.mode === 'disable') return null;
  const name = tls.serverName ?? host;
  return {
    host,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    minVersion: 'TLSv1.2',
    rejectUnauthorized: tls.mode === 'verify-full',
    checkServerIdentity: (_host, certificate) => (tls.mode === 'verify-full' ? checkServerIdentity(name, certificate) : undefined),
  };
}

function checkVersion(parameters: ReadonlyMap<string, string>, place: string): void {
  const text = parameters.get('server_version') ?? 'of an unknown version';
  if (parseServerVersion(text) >= minServerVersion) return;
  throw new HoldfastError('postgresql_version_unsupported', `${place} is PostgreSQL ${text}`, {
    context: { server: place, version: text },
  });
}

function errorPlace(options: ConnectionOptions, isReplication: boolean): Omit<ErrorPlace, 'activity'> {
  return { place: connectionPlace(options), user: options.user, database: options.database, isReplication };
}

async function endClient(client: pg.Client): Promise<void> {
  const timer = setTimeout(() => connectionOf(client).stream.destroy(), cancelLimitMs);
  try {
    await client.end();
  } finally {
    clearTimeout(timer);
  }
}

interface PgConnection {
  readonly stream: Socket;
  on(event: 'parameterStatus', listener: (message: { parameterName: string; parameterValue: string }) => void): unknown;
}

/** pg's own connection, which its types leave out. It is what makes taking over the socket possible; the version of pg is pinned. */
function connectionOf(client: pg.Client): PgConnection {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as above
  return (client as unknown as { connection: PgConnection }).connection;
}

function backendKey(client: pg.Client): { processID: number; secretKey: number } {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as above
  return client as unknown as { processID: number; secretKey: number };
}
