import { sourcePassword, type BackupConfigRow } from '@holdfast/database/backup-configs';
import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { assertAllowedHost } from '@holdfast/policy/allowed-hosts';
import { openLogicalSource } from '@holdfast/sources/postgresql/logical/logical-source';
import type { Source } from '@holdfast/sources/source';
import type { FileSystemSourceOptions, LogicalSourceOptions } from '@holdfast/sources/source-options';
import type { WorkerContext } from './worker-context.ts';

/** What a backup reads, and what its snapshot notes as left out. */
export interface OpenedSource {
  readonly source: Source;
  readonly excludes: readonly string[];
}

/** Tables that are read at once: more keep the server busier than one thread of the worker can store. */
const defaultConnectionCount = 4;
const defaultLockTimeoutSeconds = 60;

/**
 * Opens the source of a config that shows a tree of files; the caller closes it. The signal ends what a source of a server waits for.
 * Codes: path_outside_roots, postgresql_host_not_allowed, secret_unreadable, those of the source.
 */
export async function openSource(
  { config, database, masterKey }: Pick<WorkerContext, 'config' | 'database' | 'masterKey'>,
  backupConfig: BackupConfigRow,
  options: FileSystemSourceOptions | LogicalSourceOptions,
  signal: AbortSignal,
): Promise<OpenedSource> {
  if (options.type === 'file_system') {
    return { source: await openFileSystemSource({ ...options, roots: config.sourceRoots }), excludes: options.excludes ?? [] };
  }
  assertAllowedHost(options.connection, config.databaseHosts, 'postgresql_host_not_allowed');
  const password = await sourcePassword(database.client, backupConfig.id, connectionPlace(options.connection), masterKey);
  const source = await openLogicalSource({
    ...logicalOptions(options, password),
    toolPlaces: { binFolders: config.postgresqlBinFolders },
    signal,
  });
  return { source, excludes: options.excludeTables ?? [] };
}

function logicalOptions(options: LogicalSourceOptions, password: string | null) {
  const { connection, databases, schemas, excludeTables, connections = defaultConnectionCount } = options;
  const { statementTimeoutSeconds = 0, lockTimeoutSeconds = defaultLockTimeoutSeconds } = options;
  return {
    connection: { ...connection, password: password ?? undefined, applicationName: 'holdfast backup' },
    databases,
    schemas,
    excludeTables,
    connectionCount: connections,
    settings: { statementTimeoutMs: statementTimeoutSeconds * 1000, lockTimeoutMs: lockTimeoutSeconds * 1000 },
  };
}
