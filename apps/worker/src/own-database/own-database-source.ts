import { openOwnRowsReading, type OwnRowsReading } from '@holdfast/database/own-rows-reading';
import { ownDatabaseFormat, ownDatabasePath, ownDatabasePaths, type OwnDatabaseManifest } from '@holdfast/database/own-database-manifest';
import type { MasterKey } from '@holdfast/database/sealed-secret';
import { MadeUpSource, type MadeUpFile } from '@holdfast/sources/made-up-source';
import { textContent, type FileContent } from '@holdfast/sources/postgresql/logical/stream-file';
import type { Source } from '@holdfast/sources/source';
import { ownDatabaseReadme } from './own-database-readme.ts';

export interface OwnDatabaseSourceOptions {
  readonly databaseUrl: string;
  readonly masterKey: MasterKey;
  readonly backupJobId: string;
  /** As the manifest keeps them. */
  readonly settings: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** A row of a run with what it notes is about as long: for progress only. */
const estimatedRowBytes = 800;

/**
 * Holdfast's own database at one moment, with its master key, as files that are read once and in order. The moment is taken here and held until
 * the source is closed. Codes: database_unreachable, database_schema_mismatch.
 */
export async function openOwnDatabaseSource(options: OwnDatabaseSourceOptions): Promise<Source> {
  const reading = await openOwnRowsReading(options.databaseUrl, options.signal);
  const files = filesOf(reading, options);
  return new MadeUpSource({
    list: () => Promise.resolve({ timeMs: reading.takenAt.getTime(), files }),
    paths: [ownDatabasePath],
    holdsRecords: true,
    close: () => reading.close(),
  });
}

function filesOf(reading: OwnRowsReading, { masterKey, backupJobId, settings }: OwnDatabaseSourceOptions): MadeUpFile[] {
  const { facts } = reading;
  const manifest: OwnDatabaseManifest = {
    format: ownDatabaseFormat,
    takenAt: reading.takenAt.toISOString(),
    backupJobId,
    serverVersion: facts.serverVersion,
    migrations: facts.migrations.map(({ name, checksum }) => ({ name, checksum })),
    tables: facts.tables.map(({ name, columns, rowCount }) => ({ name, columns: [...columns], rowCount })),
    settings: { ...settings },
  };
  return [
    textFile(ownDatabasePaths.readme, ownDatabaseReadme),
    textFile(ownDatabasePaths.manifest, `${JSON.stringify(manifest, null, 2)}\n`),
    textFile(ownDatabasePaths.masterKey, `${Buffer.from(masterKey.bytes).toString('base64')}\n`),
    ...facts.tables.map(({ name, rowCount }) => ({
      path: ownDatabasePaths.table(name),
      estimatedBytes: rowCount * estimatedRowBytes,
      open: (): FileContent => reading.rows(name),
    })),
  ];
}

function textFile(path: string, content: string): MadeUpFile {
  return { path, estimatedBytes: content.length, open: () => textContent(content) };
}
