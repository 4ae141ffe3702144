import { z } from 'zod';
import { connectionSchema, postgresqlNameSchema } from '../postgresql/connection-options.ts';

/**
 * A PostgreSQL server: `{ "type": "postgresql", "method": "logical", "connection": { "host": "db.internal", "user": "holdfast_backup" } }`,
 * as SQL (`logical`) or as its files (`physical`).
 */

/** All of a server when there are more: leaving names out takes them all. */
const maxDatabaseCount = 64;
const maxSchemaCount = 256;
const maxTableCount = 1024;
/** Each is a backend of the server, and a few MiB of the worker. */
const maxConnectionCount = 16;
const maxStatementTimeoutSeconds = 7 * 24 * 3600;
const maxLockTimeoutSeconds = 3600;

/** `schema.table` as the catalog has them; the border is the first dot. */
export const tableNameSchema = z
  .string()
  .max(2 * 63 + 1)
  // oxlint-disable-next-line no-control-regex -- NUL is what no name may hold
  .regex(/^[^.\0]+\.[^\0]+$/u, 'must be schema.table');

export const connectionCountSchema = z.int().min(1).max(maxConnectionCount);
export const lockTimeoutSchema = z.int().min(1).max(maxLockTimeoutSeconds);

/** What a logical backup takes, and how. */
export const logicalFields = {
  connection: connectionSchema.describe('The server; its password is sent apart, as sourcePassword'),
  databases: z
    .array(postgresqlNameSchema)
    .min(1)
    .max(maxDatabaseCount)
    .optional()
    .describe('Which databases; all but templates when left out'),
  schemas: z
    .array(postgresqlNameSchema)
    .min(1)
    .max(maxSchemaCount)
    .optional()
    .describe('Only these schemas, without extensions and large objects, which belong to none'),
  excludeTables: z.array(tableNameSchema).max(maxTableCount).optional().describe('Tables that are left out, each as `schema.table`'),
  connections: connectionCountSchema.optional().describe('Tables that are read at once. Default 4'),
  statementTimeoutSeconds: z
    .int()
    .min(0)
    .max(maxStatementTimeoutSeconds)
    .optional()
    .describe('The longest that reading one table may take; 0, the default, for no limit'),
  lockTimeoutSeconds: lockTimeoutSchema.optional().describe('How long it waits for a table that somebody alters. Default 60'),
};

const logicalSourceOptionsSchema = z.strictObject({
  type: z.literal('postgresql'),
  method: z.literal('logical').describe('Schema and rows as SQL, all of a database of one moment'),
  ...logicalFields,
});

/** BASE_BACKUP's own limits, in KiB a second. */
const maxRateSchema = z.int().min(32).max(1_048_576);

const physicalSourceOptionsSchema = z.strictObject({
  type: z.literal('postgresql'),
  method: z.literal('physical').describe('The files of the whole server, with the WAL that makes them consistent'),
  connection: connectionSchema.describe('The server; its password is sent apart, as sourcePassword'),
  maxRateKiB: maxRateSchema.optional().describe('KiB a second that the server sends at most. Default no limit'),
});

export const postgresqlSourceOptionsSchema = z.discriminatedUnion('method', [logicalSourceOptionsSchema, physicalSourceOptionsSchema]);

export type LogicalSourceOptions = z.infer<typeof logicalSourceOptionsSchema>;
export type PhysicalSourceOptions = z.infer<typeof physicalSourceOptionsSchema>;
