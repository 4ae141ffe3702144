import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { isExcludePattern } from './exclude-patterns.ts';
import { connectionSchema, postgresqlNameSchema } from './postgresql/connection-options.ts';

/**
 * What a config backs up: `{ "type": "file_system", "paths": ["/srv/data"], "excludes": ["*.tmp"] }`, or a PostgreSQL server:
 * `{ "type": "postgresql", "method": "logical", "connection": { "host": "db.internal", "user": "holdfast_backup" } }`. Discriminated by
 * `type`, a server's also by `method`; a field that is not known is an error. Nothing here touches the disk, so that the API can import it.
 */

/** PATH_MAX of Linux, with its NUL. */
const maxPathLength = 4095;
/** More would make a config's row and its page unwieldy; a folder above them does the same. */
const maxPathCount = 64;
/** Every entry of the tree is held against every pattern. */
const maxPatternCount = 256;
const maxExcludeFileCount = 16;
const maxFolderTagCount = 16;
/** NAME_MAX of Linux. */
const maxNameLength = 255;
/** All of a server when there are more: leaving names out takes them all. */
const maxDatabaseCount = 64;
const maxSchemaCount = 256;
const maxTableCount = 1024;
/** Longer than any id that the database makes. */
const maxConfigIdLength = 64;
/** Each is a backend of the server, and a few MiB of the worker. */
const maxConnectionCount = 16;
const maxStatementTimeoutSeconds = 7 * 24 * 3600;
const maxLockTimeoutSeconds = 3600;
/** A header is a line or two. */
const maxHeaderLength = 1024;

/** An absolute path of this machine. */
export const absolutePathSchema = z
  .string()
  .max(maxPathLength)
  // oxlint-disable-next-line no-control-regex -- NUL is the one byte that no path may hold
  .regex(/^\/[^\0]*$/, 'must be an absolute path');

const patternSchema = z
  .string()
  .min(1)
  .max(maxPathLength)
  // oxlint-disable-next-line no-control-regex -- as above
  .regex(/^[^\0]+$/)
  .refine(isExcludePattern, 'must be a pattern, such as `*.tmp` or `/srv/cache`');

/** As restic's `--exclude-if-present name:header`. */
const folderTagSchema = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(maxNameLength)
    // oxlint-disable-next-line no-control-regex -- NUL and the slash are the two bytes that no name may hold
    .regex(/^(?!\.{1,2}$)[^/\0]+$/, 'must be the name of a file'),
  header: z.string().min(1).max(maxHeaderLength).optional(),
});

const fileSystemSourceOptionsSchema = z.strictObject({
  type: z.literal('file_system'),
  paths: z
    .array(absolutePathSchema)
    .min(1)
    .max(maxPathCount)
    .describe('Absolute files and folders, inside the allowed source roots; a symlink among them stands for what it leads to'),
  excludes: z
    .array(patternSchema)
    .max(maxPatternCount)
    .optional()
    .describe(
      'Patterns of what is left out, with everything below it: `*.tmp`, `node_modules`, `/srv/data/cache`. `*`, `?` and `[a-z]` stand for ' +
        'characters of one name, `**` for any number of names; a leading slash holds a pattern against the whole path, a leading `!` takes ' +
        'back what an earlier one left out',
    ),
  excludeFiles: z
    .array(absolutePathSchema)
    .max(maxExcludeFileCount)
    .optional()
    .describe(
      'Files at the worker, inside the allowed source roots, with such patterns one a line; `#` begins a comment. Read at each run',
    ),
  includes: z
    .array(patternSchema)
    .max(maxPatternCount)
    .optional()
    .describe(
      'When given, only what matches one of these patterns is taken, with everything below it, and the folders on the way, empty ones ' +
        'too. What is excluded stays so',
    ),
  excludeIfPresent: z
    .array(folderTagSchema)
    .max(maxFolderTagCount)
    .optional()
    .describe('A folder that holds a file of this name (that begins with `header`, if given) is stored with nothing but that file in it'),
  excludeCaches: z.boolean().optional().describe('The same for folders with a CACHEDIR.TAG file that has the signature of the standard'),
  oneFileSystem: z
    .boolean()
    .optional()
    .describe('Stays on the file system of each path: a folder on which another is mounted is stored empty'),
  excludeLargerThanBytes: z.int().nonnegative().optional().describe('Leaves out files with more bytes than this'),
});

/** `schema.table` as the catalog has them; the border is the first dot. */
export const tableNameSchema = z
  .string()
  .max(2 * 63 + 1)
  // oxlint-disable-next-line no-control-regex -- NUL is what no name may hold
  .regex(/^[^.\0]+\.[^\0]+$/u, 'must be schema.table');

export const connectionCountSchema = z.int().min(1).max(maxConnectionCount);
export const lockTimeoutSchema = z.int().min(1).max(maxLockTimeoutSeconds);

const logicalSourceOptionsSchema = z.strictObject({
  type: z.literal('postgresql'),
  method: z.literal('logical').describe('Schema and rows as SQL, all of a database of one moment'),
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
});

/** BASE_BACKUP's own limits, in KiB a second. */
export const maxRateSchema = z.int().min(32).max(1_048_576);

const physicalSourceOptionsSchema = z.strictObject({
  type: z.literal('postgresql'),
  method: z.literal('physical').describe('The files of the whole server, with the WAL that makes them consistent'),
  connection: connectionSchema.describe('The server; its password is sent apart, as sourcePassword'),
  maxRateKiB: maxRateSchema.optional().describe('KiB a second that the server sends at most. Default no limit'),
});

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

export const sourceOptionsSchema = z.discriminatedUnion('type', [
  fileSystemSourceOptionsSchema,
  z.discriminatedUnion('method', [logicalSourceOptionsSchema, physicalSourceOptionsSchema]),
  z.discriminatedUnion('method', [walSourceOptionsSchema, blocksSourceOptionsSchema]),
]);
export const sourceTypes = ['file_system', 'postgresql', 'postgresql_wal'] as const satisfies readonly SourceOptions['type'][];

export type SourceOptions = z.infer<typeof sourceOptionsSchema>;
export type FileSystemSourceOptions = z.infer<typeof fileSystemSourceOptionsSchema>;
export type LogicalSourceOptions = z.infer<typeof logicalSourceOptionsSchema>;
export type PhysicalSourceOptions = z.infer<typeof physicalSourceOptionsSchema>;
export type WalSourceOptions = z.infer<typeof walSourceOptionsSchema>;
/** What an incremental config reads. */
export type IncrementalSourceOptions = WalSourceOptions | z.infer<typeof blocksSourceOptionsSchema>;

/**
 * Checks options that came from outside.
 * Errors: type_not_supported for a kind that is not built, request_invalid for anything else that does not fit.
 */
export function parseSourceOptions(value: unknown): SourceOptions {
  const type: unknown = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
  const built: readonly string[] = sourceTypes;
  if (typeof type === 'string' && !built.includes(type)) {
    throw new HoldfastError('type_not_supported', `a source of type ${JSON.stringify(type)} is not built; there is: ${built.join(', ')}`);
  }
  const parsed = sourceOptionsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HoldfastError('request_invalid', `source options do not fit: ${z.prettifyError(parsed.error)}`, { cause: parsed.error });
}
