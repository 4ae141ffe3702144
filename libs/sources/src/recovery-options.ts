import { z } from 'zod';
import { connectionSchema, postgresqlNameSchema } from './postgresql/connection-options.ts';
import { absolutePathSchema, connectionCountSchema, lockTimeoutSchema, tableNameSchema } from './source-options.ts';

/** More is a full recovery with excludes, and every entry of the snapshot is held against each. */
const maxPathCount = 1000;

/** As many as a backup may leave out. */
const maxTableCount = 1024;
const maxSchemaCount = 256;

/** Where a logical backup of a PostgreSQL server is recovered to; the password is sent apart. */
export const databaseTargetSchema = z.strictObject({
  connection: connectionSchema.describe(
    'The server; its password is sent apart, as targetPassword. `database` is the one that is asked first',
  ),
  database: postgresqlNameSchema.describe('For full: made when it is not there, and empty otherwise. For selective: one that is there'),
  sourceDatabase: postgresqlNameSchema.optional().describe('Which database of the backup; needed when it has several'),
  globals: z.boolean().default(false).describe('For full: makes the roles and tablespaces that are missing at the server first'),
  schemas: z.array(postgresqlNameSchema).min(1).max(maxSchemaCount).optional().describe('For selective: all tables of these schemas'),
  tables: z.array(tableNameSchema).min(1).max(maxTableCount).optional().describe('For selective: these tables, each as `schema.table`'),
  content: z
    .enum(['data', 'schema_and_data'])
    .default('schema_and_data')
    .describe('For selective: data fills tables that are there; schema_and_data makes those that are not'),
  connections: connectionCountSchema.optional().describe('Tables that are written at once. Default 4'),
  lockTimeoutSeconds: lockTimeoutSchema.optional().describe('How long it waits for a table that somebody uses. Default 60'),
});

export type DatabaseTarget = z.output<typeof databaseTargetSchema>;

/**
 * How a snapshot is recovered: which of its paths (all when absent), whether what is at the target may be replaced,
 * and the database when the target is one.
 */
export const recoveryOptionsSchema = z.strictObject({
  paths: z.array(absolutePathSchema).min(1).max(maxPathCount).optional(),
  overwrite: z.boolean().default(false),
  database: databaseTargetSchema.optional(),
});
