import { z } from 'zod';
import { databasePasswordSchema } from '../postgresql/connection-options.ts';
import { consistencies, mysqlConnectionSchema, mysqlNameSchema, mysqlTableNameSchema } from '../mysql/connection-options.ts';
import { redisConnectionSchema } from '../redis/connection-options.ts';
import { copyChecks } from '../sqlite/copy-messages.ts';
import { hooksSchema } from './hooks.ts';
import { maxPartNameLength, partNameSchema } from './part-name.ts';
import { absolutePathSchema, excludesSchema, pathsSchema } from './path-fields.ts';
import { logicalFields } from './postgresql.ts';

/**
 * The data of one application, all of it of one moment and in one snapshot:
 *
 *     { "type": "application_data",
 *       "parts": [{ "name": "uploads", "kind": "paths", "paths": ["/srv/app/uploads"] },
 *                 { "name": "db", "kind": "sqlite", "path": "/srv/app/app.db" }],
 *       "hooks": { "freeze": { "kind": "program", "name": "freeze-app" }, "thaw": { "kind": "program", "name": "thaw-app" } } }
 */

/** Each is opened before any of it is read. */
const maxPartCount = 32;
/** All of a server when there are more: leaving names out takes them all. */
const maxDatabaseCount = 64;
/** More is a choice of databases. */
const maxTableCount = 1024;
/** A day: a copy that takes longer will not be made by waiting. */
const maxPatienceSeconds = 24 * 3600;

const pathsPartSchema = z.strictObject({
  name: partNameSchema,
  kind: z.literal('paths').describe('Files and folders, at their own paths in the snapshot'),
  paths: pathsSchema,
  excludes: excludesSchema.optional(),
});

const sqlitePartSchema = z.strictObject({
  name: partNameSchema,
  kind: z.literal('sqlite').describe('A SQLite database in use, by its online backup'),
  path: absolutePathSchema.describe('The database, inside the allowed source roots'),
  blocksWriters: z
    .boolean()
    .default(false)
    .describe('For a database without WAL: whoever writes waits while it is copied. By default the copy waits for a pause'),
  patienceSeconds: z
    .int()
    .min(1)
    .max(maxPatienceSeconds)
    .default(300)
    .describe('How long it waits for a lock, and for a pause, before the backup fails'),
  check: z.enum(copyChecks).default('quick').describe('What SQLite looks at in the copy: quick_check, integrity_check (full) or nothing'),
});

const postgresqlPartSchema = z.strictObject({
  name: partNameSchema,
  kind: z.literal('postgresql').describe('Databases of a PostgreSQL server, as a logical backup has them'),
  ...logicalFields,
});

const mysqlPartSchema = z.strictObject({
  name: partNameSchema,
  kind: z.literal('mysql').describe('Databases of a MariaDB or MySQL server, all of one moment'),
  connection: mysqlConnectionSchema.describe('The server; its password is sent apart, in sourcePasswords'),
  databases: z
    .array(mysqlNameSchema)
    .min(1)
    .max(maxDatabaseCount)
    .optional()
    .describe("Which databases; all but the server's own when left out"),
  excludeTables: z
    .array(mysqlTableNameSchema)
    .max(maxTableCount)
    .optional()
    .describe('Tables and views that are left out, each as `database.table`'),
  consistency: z
    .enum(consistencies)
    .default('transaction')
    .describe('transaction: tables of InnoDB are of one moment, nobody waits. lock: all tables are, nobody writes until they are read'),
  users: z.boolean().default(false).describe('With accounts and grants, and the hashes of their passwords; from MariaDB only'),
});

const redisPartSchema = z.strictObject({
  name: partNameSchema,
  kind: z.literal('redis').describe('All keys of a Redis, Valkey or KeyDB server, by a copy over replication'),
  connection: redisConnectionSchema.describe('The server; its password is sent apart, in sourcePasswords'),
});

const partSchema = z.discriminatedUnion('kind', [
  pathsPartSchema,
  sqlitePartSchema,
  postgresqlPartSchema,
  mysqlPartSchema,
  redisPartSchema,
]);

export const applicationDataSourceOptionsSchema = z.strictObject({
  type: z.literal('application_data'),
  parts: z
    .array(partSchema)
    .min(1)
    .max(maxPartCount)
    .superRefine((parts, context) => {
      parts.forEach(({ name }, index) => {
        if (parts.findIndex((part) => part.name === name) === index) return;
        context.addIssue({ code: 'custom', path: [index, 'name'], message: `is the name of another part too: ${name}` });
      });
    })
    .describe('What belongs together'),
  hooks: hooksSchema.optional().describe('What makes the application stand still while the moment is taken'),
});

export type ApplicationDataSourceOptions = z.infer<typeof applicationDataSourceOptionsSchema>;
export type ApplicationPartOptions = z.infer<typeof partSchema>;
export type ApplicationPartKind = ApplicationPartOptions['kind'];
export type ApplicationPartOptionsOf<K extends ApplicationPartKind> = Extract<ApplicationPartOptions, { readonly kind: K }>;

/** By the name of the part; null for none. */
export const partPasswordsSchema = z
  .record(z.string().max(maxPartNameLength), databasePasswordSchema.nullable())
  .refine((passwords) => Object.keys(passwords).length <= maxPartCount + 1, `may name at most ${maxPartCount} parts`);
export type GivenPartPasswords = z.infer<typeof partPasswordsSchema>;
