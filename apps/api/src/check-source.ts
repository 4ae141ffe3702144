import type { SourceOptions, SourceOptionsOf, SourceType } from '@holdfast/sources/source-options';
import { configurationCheck } from './source-checks/configuration.ts';
import { fileSystemCheck } from './source-checks/file-system.ts';
import { ownDatabaseCheck } from './source-checks/own-database.ts';
import { postgresqlCheck } from './source-checks/postgresql.ts';
import { postgresqlWalCheck } from './source-checks/postgresql-wal.ts';
import type { ReachSettings, SourceCheck } from './source-checks/source-check.ts';

const sourceChecks: { readonly [T in SourceType]: SourceCheck<SourceOptionsOf<T>> } = {
  file_system: fileSystemCheck,
  postgresql: postgresqlCheck,
  postgresql_wal: postgresqlWalCheck,
  own_database: ownDatabaseCheck,
  configuration: configurationCheck,
};

function checkOf({ type }: SourceOptions): SourceCheck<SourceOptions> {
  return sourceChecks[type];
}

/** Refuses a source that is out of the worker's reach. Codes: those of the type's check. */
export function checkSource(source: SourceOptions, settings: ReachSettings): void {
  checkOf(source).checkReach(source, settings);
}

/** Why a sourcePassword has no place beside this source; null where it has one. */
export function whyNoPassword(source: SourceOptions): string | null {
  const { password } = checkOf(source);
  return 'reason' in password ? password.reason : null;
}

/** The server and the account that a sourcePassword is sealed for; null where the source takes none. */
export function passwordPlace(source: SourceOptions): string | null {
  const { password } = checkOf(source);
  return 'reason' in password ? null : password.place(source);
}
