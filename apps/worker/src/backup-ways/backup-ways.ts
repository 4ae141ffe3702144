import type { SourceOptions, SourceOptionsOf, SourceType } from '@holdfast/sources/source-options';
import { backUpIncrement } from '../postgresql/incremental-backup.ts';
import { applicationDataWay } from './application-data.ts';
import { logsWay } from '../logs/back-up-logs.ts';
import type { BackupWay } from './backup-way.ts';
import { configurationWay } from './configuration.ts';
import { fileSystemWay } from './file-system.ts';
import { ownDatabaseWay } from './own-database.ts';
import { postgresqlWay } from './postgresql.ts';

const backupWays: { readonly [T in SourceType]: BackupWay<SourceOptionsOf<T>> } = {
  file_system: fileSystemWay,
  logs: logsWay,
  postgresql: postgresqlWay,
  postgresql_wal: { backUp: backUpIncrement },
  own_database: ownDatabaseWay,
  configuration: configurationWay,
  application_data: applicationDataWay,
};

export function backupWayOf({ type }: SourceOptions): BackupWay<SourceOptions> {
  return backupWays[type];
}
