import type { ConnectionOptions } from '../../connection-options.ts';
import { serverVersion } from '../catalog.ts';
import { findScriptTools, type ToolPlaces } from '../client-tools.ts';
import type { DatabaseManifest } from '../manifest.ts';
import { openSession } from '../session.ts';
import { chosenDatabase, folderOf, readManifest, type BackupFiles } from './backup-files.ts';
import { loadTables, type FailedTable } from './load-tables.ts';
import { restoreGlobals } from './restore-globals.ts';
import { RestoreProgress, type RestoreProgressValue } from './restore-progress.ts';
import { runScript } from './run-script.ts';
import { readyTargetDatabase, withRoleHint } from './target-database.ts';

export interface RestoreDatabaseOptions {
  readonly files: BackupFiles;
  /** To the database of the server that is asked first. */
  readonly connection: ConnectionOptions;
  /** The one that is filled. */
  readonly database: string;
  readonly sourceDatabase?: string | undefined;
  readonly globals: boolean;
  readonly overwrite: boolean;
  /** As `onTarget` told it in a former attempt. */
  readonly ownOid?: string | undefined;
  readonly connectionCount: number;
  readonly lockTimeoutMs: number;
  readonly toolPlaces: ToolPlaces;
  /** Hears of the database that will be filled, while it is still empty. */
  readonly onTarget: (oid: string) => Promise<void>;
  readonly onProgress: (value: RestoreProgressValue) => void;
  readonly signal: AbortSignal;
}

export interface RestoredDatabase {
  readonly tableCount: number;
  /** As the restored database counts them. */
  readonly rowCount: number;
  readonly bytes: number;
  readonly failed: readonly FailedTable[];
  /** What was left as it was, or could not be made. */
  readonly warnings: readonly string[];
}

/**
 * Recovers one database of a logical backup into a new or empty one: schema, rows, large objects, sequences, then indexes and
 * constraints. When tables fail, the others are there and what builds on them is not made. When it throws, what was done so far is there.
 * Codes: target_not_empty, postgresql_*, repository_damaged, path_not_found (no logical backup).
 */
export async function restoreDatabase(options: RestoreDatabaseOptions): Promise<RestoredDatabase> {
  const { files, connection, database, globals, toolPlaces, signal, overwrite, ownOid, connectionCount, lockTimeoutMs } = options;
  const manifest = await readManifest(files);
  const source = chosenDatabase(manifest, options.sourceDatabase);
  const serverMajor = await majorOf(connection, signal);
  const tools = await findScriptTools(serverMajor, toolPlaces);
  const warnings = globals ? await restoreGlobals({ tools, serverMajor, connection, script: files.read('/globals.sql'), signal }) : [];
  const oid = await readyTargetDatabase({ connection, database, createOptions: source.createOptions, overwrite, ownOid, signal });
  await options.onTarget(oid);

  const filled = { ...connection, database };
  const script = async (name: string): Promise<void> => {
    const run = runScript({ tools, serverMajor, connection: filled, script: files.read(`${folderOf(source)}/${name}.sql`), signal });
    await run.catch((error: unknown) => {
      throw withRoleHint(error);
    });
  };
  const progress = new RestoreProgress(await totalsOf(files, source), options.onProgress);
  await script('pre-data');
  const { tables } = source;
  const loading = { files, database: source, tables, connection: filled, connectionCount, lockTimeoutMs, progress, signal };
  const loaded = await loadTables({ ...loading, present: 'refuse' });
  if (loaded.failed.length === 0) {
    await script('large-objects');
    await script('sequences');
    await script('post-data');
  }
  return { ...loaded, bytes: progress.bytesDone, warnings };
}

export async function majorOf(connection: ConnectionOptions, signal: AbortSignal): Promise<number> {
  await using session = await openSession(connection, signal);
  return (await serverVersion(session)).major;
}

/** How many files with rows a database of a backup has, and their bytes. */
export async function totalsOf(files: BackupFiles, source: DatabaseManifest): Promise<{ filesTotal: number; bytesTotal: number }> {
  const listed = await files.list(`${folderOf(source)}/data`);
  return { filesTotal: listed.length, bytesTotal: listed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
}
