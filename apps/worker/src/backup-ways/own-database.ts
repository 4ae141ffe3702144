import { systemEntityId } from '@holdfast/database/scope';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { HostPattern } from '@holdfast/policy/allowed-hosts';
import type { OwnDatabaseSourceOptions } from '@holdfast/sources/source-options/own-database';
import type { WorkerConfig } from '../config.ts';
import { openOwnDatabaseSource } from '../own-database/own-database-source.ts';
import { archiveTree } from './archive-tree.ts';
import type { BackupWay } from './backup-way.ts';

/**
 * Codes: request_invalid (another entity than the system's, or a repository that everybody reads: the API refuses both, and the backup holds
 * the master key), those of openOwnDatabaseSource and archiveTree.
 */
export const ownDatabaseWay: BackupWay<OwnDatabaseSourceOptions> = {
  backUp: async (run, work, _options, storing) => {
    const { config, masterKey } = run.context;
    if (work.businessEntityId !== systemEntityId || !work.repository.encryptionEnabled) {
      throw new HoldfastError('request_invalid', `config ${work.backupConfigId} may not back up the database of the service`, {
        hint: `that is for configs of the entity ${systemEntityId}, with an encrypted repository`,
      });
    }
    const settings = settingsOf(config);
    const { signal } = run;
    const source = await openOwnDatabaseSource({
      databaseUrl: config.databaseUrl,
      masterKey,
      backupJobId: work.id,
      settings,
      signal,
    });
    return await archiveTree(run, { source, excludes: [] }, storing);
  },
};

/** Where a worker may read and write: what somebody who rebuilds the service has to set again. */
function settingsOf(config: WorkerConfig): Record<string, string> {
  return {
    HOLDFAST_SOURCE_ROOTS: config.sourceRoots.join(':'),
    HOLDFAST_STORAGE_ROOTS: config.storageRoots.join(':'),
    HOLDFAST_TARGET_ROOTS: config.targetRoots.join(':'),
    HOLDFAST_DATABASE_HOSTS: hostsText(config.databaseHosts),
    HOLDFAST_STORAGE_HOSTS: hostsText(config.storageHosts),
    HOLDFAST_CLEANUP_SCHEDULE: config.cleanupSchedule,
  };
}

function hostsText(patterns: readonly HostPattern[]): string {
  return patterns
    .map(({ host, port }) => {
      const name = host.includes(':') ? `[${host}]` : host;
      return port === undefined ? name : `${name}:${port}`;
    })
    .join(',');
}
