import { checkServerIdentity } from 'node:tls';
import type pg from 'pg';
import type { ConnectionOptions, TlsOptions } from '../connection-options.ts';

/** A server that does not answer for so long is tried again later. */
const defaultConnectTimeoutMs = 15_000;
/** A peer that vanished without a word is noticed by then. */
const keepAliveDelayMs = 30_000;

/**
 * The settings of `pg`, which otherwise fills gaps from PGPASSWORD, PGSSLMODE, PGOPTIONS and ~/.pgpass of the worker: nothing of that
 * may reach a server that a tenant names.
 */
export function clientConfig(connection: ConnectionOptions): pg.ClientConfig {
  const {
    host,
    port,
    user,
    database,
    password,
    tls,
    applicationName = 'holdfast',
    connectTimeoutMs = defaultConnectTimeoutMs,
  } = connection;
  return {
    host,
    port,
    user,
    database,
    // A function: an empty text would be filled from the environment too.
    password: () => password ?? '',
    ssl: tlsConfig(tls, host),
    application_name: applicationName,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveDelayMs,
    options: '-c DateStyle=ISO',
    client_encoding: 'UTF8',
    // Everything as the server's text.
    types: { getTypeParser: () => (value: unknown) => value },
  };
}

function tlsConfig({ mode, ca, serverName }: TlsOptions, host: string): pg.ClientConfig['ssl'] {
  if (mode === 'disable') return false;
  const authorities = ca === undefined ? {} : { ca };
  if (mode === 'require') return { rejectUnauthorized: false, ...authorities };
  return {
    rejectUnauthorized: true,
    ...authorities,
    checkServerIdentity: (_, certificate) => checkServerIdentity(serverName ?? host, certificate),
  };
}
