import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';

/**
 * /manifest.json of a logical backup: what a recovery by program needs to know. A recovery by hand does not need it.
 *
 *     { "format": "holdfast-postgresql-logical", "version": 1, "server": { … }, "databases": [{ "name": "shop", "folder": "shop", … }] }
 */
const tableSchema = z.object({
  schema: z.string(),
  name: z.string(),
  /** In the database's folder `data`. */
  file: z.string(),
  columns: z.array(z.string()),
  /** Of a partition: the partitioned tables above it. */
  ancestors: z.array(z.object({ schema: z.string(), name: z.string() })),
  /** What stands before the rows in the file, and the rows. */
  headerBytes: z.int().nonnegative(),
  rows: z.int().nonnegative(),
  /** Only some of the table's rows, those that an extension declares as the user's. */
  isPartial: z.boolean(),
});

const databaseSchema = z.object({
  name: z.string(),
  /** Below /databases. */
  folder: z.string(),
  encoding: z.string(),
  /** What CREATE DATABASE has to be told to make one like it. */
  createOptions: z.string(),
  /** In which the files are written. */
  transferEncoding: z.enum(['UTF8', 'SQL_ASCII']),
  snapshot: z.object({ lsn: z.string(), takenAt: z.string() }),
  tables: z.array(tableSchema),
  sequences: z.array(z.object({ schema: z.string(), name: z.string(), lastValue: z.string(), isCalled: z.boolean() })),
  largeObjectCount: z.int().nonnegative(),
});

export const manifestSchema = z.object({
  format: z.literal('holdfast-postgresql-logical'),
  version: z.literal(1),
  server: z.object({ place: z.string(), version: z.string(), major: z.int() }),
  tools: z.object({ major: z.int() }),
  databases: z.array(databaseSchema),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type DatabaseManifest = z.infer<typeof databaseSchema>;
export type TableManifest = z.infer<typeof tableSchema>;

export const manifestPath = '/manifest.json';

/** Code: repository_damaged, for a text that no logical backup of ours can have. */
export function parseManifest(text: string): Manifest {
  try {
    return manifestSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new HoldfastError('repository_damaged', `${manifestPath} is none of a logical backup that this version can read`, {
      cause: error,
    });
  }
}
