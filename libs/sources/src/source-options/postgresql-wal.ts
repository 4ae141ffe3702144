import { z } from 'zod';

/**
 * What came since the physical backups of another config: `{ "type": "postgresql_wal", "method": "wal", "baseConfigId": "..." }`, as WAL or
 * as changed blocks.
 */

/** Longer than any id that the database makes. */
const maxConfigIdLength = 64;

const baseConfigIdSchema = z
  .string()
  .max(maxConfigIdLength)
  .regex(/^[A-Za-z0-9_-]+$/u, 'is not an id')
  .describe('The config of the physical backups that these build on; the server and its password are those of that config');

const walSourceOptionsSchema = z.strictObject({
  type: z.literal('postgresql_wal'),
  method: z.literal('wal').describe('All WAL since the last backup of the chain: recoverable is every moment of it'),
  baseConfigId: baseConfigIdSchema,
  slotName: z
    .string()
    .regex(/^[a-z0-9_]{1,63}$/u, 'must be 1 to 63 lower-case letters, digits and underscores')
    .optional()
    .describe('The replication slot that keeps the WAL at the server until it is stored. Default holdfast_ and the id of the config'),
});

const blocksSourceOptionsSchema = z.strictObject({
  type: z.literal('postgresql_wal'),
  method: z.literal('blocks').describe('The blocks that changed since the newest base backup; PostgreSQL 17 and newer'),
  baseConfigId: baseConfigIdSchema,
});

export const postgresqlWalSourceOptionsSchema = z.discriminatedUnion('method', [walSourceOptionsSchema, blocksSourceOptionsSchema]);

export type WalSourceOptions = z.infer<typeof walSourceOptionsSchema>;
/** What an incremental config reads. */
export type IncrementalSourceOptions = z.infer<typeof postgresqlWalSourceOptionsSchema>;
