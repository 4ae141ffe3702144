import { sourcePassword } from '@holdfast/database/backup-configs';
import { assertAllowedHost } from '@holdfast/policy/allowed-hosts';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { openLogicalSource } from '@holdfast/sources/postgresql/logical/logical-source';
import type { LogicalSourceOptions, PhysicalSourceOptions } from '@holdfast/sources/source-options/postgresql';
import { backUpBase } from '../postgresql/base-backup.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { archiveTree, type OpenedSource } from './archive-tree.ts';
import type { BackupWay } from './backup-way.ts';

/** Tables that are read at once: more keep the server busier than one thread of the worker can store. */
const defaultConnectionCount = 4;
const defaultLockTimeoutSeconds = 60;

/** Codes: postgresql_host_not_allowed, secret_unreadable, those of archiveTree and of backUpBase. */
export const postgresqlWay: BackupWay<LogicalSourceOptions | PhysicalSourceOptions> = {
  backUp: async (run, work, options, storing) => {
    if (options.method === 'physical') return await backUpBase(run, work, options, storing);
    return await archiveTree(run, await openLogical(run, work.backupConfig.id, options), storing);
  },
};

/** The signal of the run ends what the source waits for at its server. */
async function openLogical(
  { context, signal }: RunInHand<'backup'>,
  configId: string,
  options: LogicalSourceOptions,
): Promise<OpenedSource> {
  const { config, database, masterKey } = context;
  assertAllowedHost(options.connection, config.databaseHosts, 'postgresql_host_not_allowed');
  const password = await sourcePassword(database.client, configId, connectionPlace(options.connection), masterKey);
  const source = await openLogicalSource({
    ...logicalOptions(options, password),
    toolPlaces: { binFolders: config.postgresqlBinFolders },
    signal,
  });
  return { source, excludes: options.excludeTables ?? [] };
}

/** What a logical source takes, as a config has it. */
export function logicalOptions(options: Omit<LogicalSourceOptions, 'type' | 'method'>, password: string | null) {
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
