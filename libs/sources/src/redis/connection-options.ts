import { z } from 'zod';
import { connectionPlace, hostSchema, tlsSchema, type TlsOptions } from '../postgresql/connection-options.ts';

/**
 * How a Redis, Valkey or KeyDB server is reached, as it is stored: without the password, which is sealed beside it.
 *
 *     { "host": "cache.internal", "port": 6379, "user": "holdfast", "tls": { "mode": "verify-full" } }
 *
 * Nothing here opens a connection, so that the API can import it.
 */
export interface RedisConnectionOptions {
  readonly host: string;
  readonly port: number;
  /** Of an access control list; absent for the one that servers without lists have, `default`. */
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly tls: TlsOptions;
}

const maxPort = 65_535;
const defaultPort = 6379;
/** Redis has no limit of its own; more is no name. */
const maxUserLength = 256;

/** The stored part of RedisConnectionOptions. */
export const redisConnectionSchema = z.strictObject({
  host: hostSchema.describe('Name or address, allowed by HOLDFAST_DATABASE_HOSTS'),
  port: z.int().min(1).max(maxPort).default(defaultPort),
  user: z
    .string()
    .min(1)
    .max(maxUserLength)
    .regex(/^\S+$/u, 'must be a name without blanks')
    .optional()
    .describe('Of an access control list. Default `default`'),
  tls: tlsSchema.default({ mode: 'verify-full' }),
});

/** The server and the account that a password is for: `default@cache.internal:6379`. In messages too. */
export function redisPlace({ host, port, user = 'default' }: Pick<RedisConnectionOptions, 'host' | 'port' | 'user'>): string {
  return connectionPlace({ host, port, user });
}
