import { z } from 'zod';
import { fileRecoveryFields } from './file-recovery-options.ts';
import { mysqlConnectionSchema, mysqlNameSchema } from './mysql/connection-options.ts';
import { redisConnectionSchema } from './redis/connection-options.ts';
import { connectionSchema, postgresqlNameSchema } from './postgresql/connection-options.ts';
import { partNameSchema } from './source-options/part-name.ts';
import { absolutePathSchema } from './source-options/path-fields.ts';
import { connectionCountSchema, lockTimeoutSchema, tableNameSchema } from './source-options/postgresql.ts';

/** As many as a backup may leave out. */
const maxTableCount = 1024;
const maxSchemaCount = 256;

/** Where a logical backup of a PostgreSQL server is recovered to; the password is sent apart. */
export const databaseTargetSchema = z.strictObject({
  part: partNameSchema.optional().describe('For a backup of an application: the part of kind postgresql that is recovered'),
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

const maxPatienceSeconds = 3600;

/** The place that a SQLite part of an application's backup is put into, which may be in use. */
export const sqliteTargetSchema = z.strictObject({
  part: partNameSchema.describe('The part of kind sqlite that is recovered'),
  path: absolutePathSchema.describe('The database, inside the target roots; made when it is not there'),
  patienceSeconds: z.int().min(1).max(maxPatienceSeconds).default(60).describe('How long it waits for locks of those who use it'),
});

export type SqliteTarget = z.output<typeof sqliteTargetSchema>;

export type DatabaseTarget = z.output<typeof databaseTargetSchema>;

/** Prefixes of keys are short; each key is held against each of them. */
const maxPrefixCount = 64;
const maxPrefixLength = 512;

/** Where a part of an application's backup is recovered to that is a server of MariaDB, MySQL or Redis; the password is sent apart. */
export const serverTargetSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('mysql'),
    part: partNameSchema.describe('The part of kind mysql that is recovered'),
    connection: mysqlConnectionSchema.describe('The server; its password is sent apart, as targetPassword'),
    database: mysqlNameSchema.describe('For full: made when it is not there; one that holds something is replaced with overwrite only'),
    sourceDatabase: mysqlNameSchema.optional().describe('Which database of the backup; needed when it has several'),
    table: mysqlNameSchema.optional().describe('For selective: this table, into a database that is there. None is replaced'),
    as: mysqlNameSchema.optional().describe('For selective: another name for the table; then without its foreign keys'),
  }),
  z.strictObject({
    kind: z.literal('redis'),
    part: partNameSchema.describe('The part of kind redis that is recovered'),
    connection: redisConnectionSchema.describe('The server; its password is sent apart, as targetPassword'),
    keyPrefixes: z
      .array(z.string().min(1).max(maxPrefixLength))
      .min(1)
      .max(maxPrefixCount)
      .optional()
      .describe('For selective: only keys that begin with one of these, and no functions'),
  }),
]);

export type ServerTarget = z.output<typeof serverTargetSchema>;

/** A restore point's name has at most 63 bytes; LSNs and times are shorter still. */
const maxTargetLength = 63;
const maxTimeline = 0xffff_ffff;
const maxTablespaceCount = 64;

/** Where the recovery of a physical backup stops; exactly one of the first four. */
export const pointInTimeSchema = z
  .strictObject({
    time: z.string().max(maxTargetLength).optional().describe('A time with its zone, such as 2026-05-01T03:00:00.123456+02:00'),
    lsn: z.string().max(maxTargetLength).optional().describe('A place in WAL, such as 16/B374D848'),
    name: z.string().min(1).max(maxTargetLength).optional().describe('A restore point, as pg_create_restore_point made it'),
    latest: z.literal(true).optional().describe('All WAL that is kept'),
    inclusive: z.boolean().optional().describe('For time and lsn: with what was committed just there. Default true'),
    timeline: z.int().min(1).max(maxTimeline).optional().describe('Which history to follow. Default: the newest'),
  })
  .refine(({ time, lsn, name, latest }) => [time, lsn, name, latest].filter((each) => each !== undefined).length === 1, {
    error: 'needs exactly one of time, lsn, name and latest',
  });

/** What was picked up by which runs of a config of logs; one of both at least. */
export const logWindowSchema = z
  .strictObject({
    since: z.iso.datetime({ offset: true }).optional().describe('From then on; from the beginning when left out'),
    until: z.iso.datetime({ offset: true }).optional().describe('Up to then; to the end when left out'),
  })
  .refine(({ since, until }) => since !== undefined || until !== undefined, { error: 'needs since, until or both' })
  .refine(({ since, until }) => since === undefined || until === undefined || Date.parse(since) < Date.parse(until), {
    error: 'needs a since that is before until',
  });

/** By OID: where a tablespace goes. */
export const tablespacesSchema = z
  .record(z.string().regex(/^[1-9]\d{0,9}$/u, 'must be the OID of a tablespace'), absolutePathSchema)
  .refine((map) => Object.keys(map).length <= maxTablespaceCount, { error: `may name at most ${maxTablespaceCount} tablespaces` });

/** More is a test program, not a look at a restore. */
const maxAssertionCount = 100;
const maxAssertionNameLength = 200;
const maxSqlLength = 10_000;

/** What a restore test of a physical backup asks its server beside what it looks at anyway. */
export const verificationOptionsSchema = z.strictObject({
  assertions: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(maxAssertionNameLength),
        database: postgresqlNameSchema,
        sql: z.string().min(1).max(maxSqlLength).describe('One SELECT that gives one row of one column'),
        expected: z.union([z.string().max(maxSqlLength), z.number(), z.boolean(), z.null()]).describe('What it must give, as JSON has it'),
      }),
    )
    .max(maxAssertionCount)
    .default([]),
});

/** For backups of type configuration: Holdfast's own rows instead of files. */
export const rowsRecoverySchema = z.strictObject({
  mode: z.enum(['diff', 'apply']).describe('diff tells what would become of each row, and changes nothing; apply makes what is missing'),
  overwrite: z.boolean().default(false).describe('With apply: rows that are others now become what they were. Nothing is ever removed'),
});

export type RowsRecovery = z.output<typeof rowsRecoverySchema>;

/**
 * How a snapshot is recovered: for files what file-recovery-options.ts says (`overwrite` is for databases too, and true or false there),
 * the database when the target is one, for a physical backup where to stop, whether to start a server, and where tablespaces go, and for
 * logs of which runs.
 */
export const recoveryOptionsSchema = z.strictObject({
  ...fileRecoveryFields,
  database: databaseTargetSchema.optional(),
  sqlite: sqliteTargetSchema.optional(),
  server: serverTargetSchema.optional(),
  pointInTime: pointInTimeSchema.optional(),
  start: z.boolean().default(false),
  tablespaces: tablespacesSchema.optional(),
  window: logWindowSchema.optional(),
  rows: rowsRecoverySchema.optional(),
});

export type RecoveryOptions = z.output<typeof recoveryOptionsSchema>;
