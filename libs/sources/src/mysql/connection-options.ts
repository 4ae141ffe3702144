import { z } from 'zod';
import { connectionPlace, hostSchema, tlsSchema, type TlsOptions } from '../postgresql/connection-options.ts';

/**
 * How a MariaDB or MySQL server is reached, as it is stored: without the password, which is sealed beside it.
 *
 *     { "host": "db.internal", "port": 3306, "user": "holdfast", "tls": { "mode": "verify-full" } }
 *
 * Nothing here opens a connection, so that the API can import it.
 */
export interface MysqlConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password?: string | undefined;
  /** Without `serverName`: the clients of these servers know no other name than the host's. */
  readonly tls: Omit<TlsOptions, 'serverName'>;
}

const maxPort = 65_535;
const defaultPort = 3306;
/** Of MariaDB; MySQL's is 32. */
const maxUserLength = 128;
/** NAME_CHAR_LEN: characters of a database, a table or a column. */
const maxNameLength = 64;

const characters = (text: string): boolean => !/[\0\r\n]/u.test(text) && text.isWellFormed();

/** A database or a table as the server has it: not quoted. Lines end no name that a dump can hold. */
export const mysqlNameSchema = z.string().min(1).max(maxNameLength).refine(characters, 'holds a character that no name may have');

/** `database.table`; the border is the first dot, so the database's name has none. */
export const mysqlTableNameSchema = z
  .string()
  .max(2 * maxNameLength + 1)
  .refine((text) => characters(text) && /^[^.]+\../u.test(text), 'must be database.table');

/**
 * `transaction`: one transaction of which all tables of InnoDB show one moment, while everybody goes on writing. `lock`: nobody writes
 * anything until all rows are read, and then tables of other engines show that moment too.
 */
export const consistencies = ['transaction', 'lock'] as const;
export type Consistency = (typeof consistencies)[number];

/** The stored part of MysqlConnectionOptions. */
export const mysqlConnectionSchema = z.strictObject({
  host: hostSchema.describe('Name or address, allowed by HOLDFAST_DATABASE_HOSTS'),
  port: z.int().min(1).max(maxPort).default(defaultPort),
  user: z.string().min(1).max(maxUserLength).refine(characters, 'holds a character that no name may have'),
  tls: tlsSchema
    .refine(({ serverName }) => serverName === undefined, {
      path: ['serverName'],
      error: 'cannot be given: the clients of MariaDB and MySQL check the name of the host only',
    })
    .default({ mode: 'verify-full' }),
});

/** The server and the account that a password is for: `holdfast@db.internal:3306`. In messages too. */
export function mysqlPlace({ host, port, user }: Pick<MysqlConnectionOptions, 'host' | 'port' | 'user'>): string {
  return connectionPlace({ host, port, user });
}
