import { z } from 'zod';

/**
 * Where the parts of a backup of Holdfast's own database lie in its snapshot, and what its manifest says. docs/rescue.md shows all of it.
 *
 *   /holdfast-database/README.txt
 *   /holdfast-database/manifest.json     ownDatabaseManifestSchema
 *   /holdfast-database/master-key        32 bytes in base64 and a line feed
 *   /holdfast-database/tables/<table>.jsonl
 */
export const ownDatabasePath = '/holdfast-database';
export const ownDatabasePaths = {
  readme: `${ownDatabasePath}/README.txt`,
  manifest: `${ownDatabasePath}/manifest.json`,
  masterKey: `${ownDatabasePath}/master-key`,
  table: (name: string): string => `${ownDatabasePath}/tables/${name}.jsonl`,
} as const;

/** Raised when an older reader would misread what a newer one writes. */
export const ownDatabaseFormat = 1;

/** A manifest names tables and migrations: some ten KiB. */
export const maxManifestBytes = 4 * 1024 * 1024;

export const ownDatabaseManifestSchema = z.object({
  format: z.literal(ownDatabaseFormat),
  /** ISO 8601, by the database's clock: every row is as it was then. */
  takenAt: z.iso.datetime(),
  /** The run that wrote it: in these very rows it is still running. */
  backupJobId: z.string(),
  serverVersion: z.string(),
  migrations: z.array(z.object({ name: z.string(), checksum: z.string() })).min(1),
  tables: z.array(z.object({ name: z.string(), columns: z.array(z.string()).min(1), rowCount: z.int().nonnegative() })).min(1),
  /** Settings of the worker that are no secrets, by their names: what the service may read and write where it was. */
  settings: z.record(z.string(), z.string()),
});

export type OwnDatabaseManifest = z.infer<typeof ownDatabaseManifestSchema>;
