import { z } from 'zod';

/**
 * How a PostgreSQL server is reached, as it is stored: without the password, which is sealed beside it.
 *
 *     { "host": "db.example.org", "port": 5432, "user": "holdfast", "database": "postgres", "tls": { "mode": "verify-full" } }
 *
 * Nothing here opens a connection, so that the API can import it.
 */
export interface ConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password?: string | undefined;
  readonly database: string;
  readonly tls: TlsOptions;
  readonly applicationName?: string | undefined;
  /** 0 for none. */
  readonly statementTimeoutMs?: number | undefined;
  readonly connectTimeoutMs?: number | undefined;
}

export interface TlsOptions {
  /** `require` encrypts and believes any certificate; `verify-full` checks its chain and name. */
  readonly mode: 'disable' | 'require' | 'verify-full';
  /** Certificates in PEM that are believed, instead of the system's. */
  readonly ca?: string | undefined;
  /** The name that the certificate must have, when it is another than `host`. */
  readonly serverName?: string | undefined;
}

/** RFC 1035's limit of a name. */
const maxHostLength = 253;
/** NAMEDATALEN - 1 is 63 bytes; servers that were built with another limit are rare. */
const maxNameBytes = 63;
const maxPort = 65_535;
/** A chain of several certificates in PEM. */
const maxCertificateLength = 64 * 1024;
export const maxPasswordLength = 1024;

const defaultPort = 5432;
/** Every server has it, until somebody drops it. */
const defaultDatabase = 'postgres';

/** A name, or an IPv4 or IPv6 address. No socket folder: that is a path of the worker. */
export const hostSchema = z
  .string()
  .min(1)
  .max(maxHostLength)
  .regex(/^[A-Za-z0-9._:-]+$/u, 'must be a host name or an address');

/** A database, role, schema or table as the catalog has it: not quoted, not folded. */
export const postgresqlNameSchema = z
  .string()
  .min(1)
  .refine((name) => Buffer.byteLength(name) <= maxNameBytes, `must have at most ${maxNameBytes} bytes`)
  .refine((name) => !name.includes('\0') && name.isWellFormed(), 'holds a character that no name can have');

export const tlsSchema = z
  .strictObject({
    mode: z.enum(['disable', 'require', 'verify-full']).describe('require believes any certificate, verify-full checks its chain and name'),
    ca: z
      .string()
      .min(1)
      .max(maxCertificateLength)
      .includes('-----BEGIN CERTIFICATE-----', { error: 'must be certificates in PEM' })
      .optional()
      .describe('Certificates in PEM that are believed, instead of those of the system'),
    serverName: hostSchema.optional().describe('The name in the certificate, when it is not the host'),
  })
  .refine(({ mode, ca }) => mode !== 'disable' || ca === undefined, { path: ['ca'], error: 'is given while mode is disable' });

/** The stored part of ConnectionOptions. */
export const connectionSchema = z.strictObject({
  host: hostSchema.describe('Name or address, allowed by HOLDFAST_DATABASE_HOSTS'),
  port: z.int().min(1).max(maxPort).default(defaultPort),
  user: postgresqlNameSchema,
  database: postgresqlNameSchema.default(defaultDatabase).describe('The database that is asked first'),
  tls: tlsSchema.default({ mode: 'verify-full' }),
});

/** Not trimmed: a password may begin with a blank. */
export const databasePasswordSchema = z
  .string()
  .min(1)
  .max(maxPasswordLength)
  .refine((text) => !text.includes('\0') && text.isWellFormed(), 'holds a character that no password can have');

/**
 * The server and the account that a password is for: `holdfast@db.example.org:5432`. A password that was sealed for one place is not
 * sent to another. In messages too.
 */
export function connectionPlace({ host, port, user }: Pick<ConnectionOptions, 'host' | 'port' | 'user'>): string {
  return `${user}@${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The server alone, as slots are noted at it: `db.example.org:5432`. */
export function serverPlace({ host, port }: Pick<ConnectionOptions, 'host' | 'port'>): string {
  const name = host.toLowerCase().replace(/\.$/u, '');
  return `${name.includes(':') ? `[${name}]` : name}:${port}`;
}
