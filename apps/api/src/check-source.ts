import type { PartPasswords, SourcePassword } from '@holdfast/database/backup-configs';
import type { SourceOptions, SourceOptionsOf, SourceType } from '@holdfast/sources/source-options';
import { configurationCheck } from './source-checks/configuration.ts';
import type { GivenPartPasswords } from '@holdfast/sources/source-options/application-data';
import { applicationDataCheck } from './source-checks/application-data.ts';
import { fileSystemCheck } from './source-checks/file-system.ts';
import { ownDatabaseCheck } from './source-checks/own-database.ts';
import { logsCheck } from './source-checks/logs.ts';
import { postgresqlCheck } from './source-checks/postgresql.ts';
import { postgresqlWalCheck } from './source-checks/postgresql-wal.ts';
import { fieldError } from './problem.ts';
import type { ReachSettings, SourceCheck } from './source-checks/source-check.ts';

const sourceChecks: { readonly [T in SourceType]: SourceCheck<SourceOptionsOf<T>> } = {
  file_system: fileSystemCheck,
  logs: logsCheck,
  postgresql: postgresqlCheck,
  postgresql_wal: postgresqlWalCheck,
  own_database: ownDatabaseCheck,
  configuration: configurationCheck,
  application_data: applicationDataCheck,
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

/**
 * The passwords of the source's parts: those that were given, and of the others the ones that are sealed, when they are for the same server
 * and account. Code: request_invalid, for one that is missing and one that nothing needs.
 */
export function partPasswordsFor(before: SourceOptions | null, after: SourceOptions, given: GivenPartPasswords | undefined): PartPasswords {
  const places = placesOf(after);
  for (const name of Object.keys(given ?? {})) {
    if (!places.has(name)) throw passwordError(name, 'is of no part that takes a password; leave it out');
  }
  const placesBefore = before === null ? new Map<string, string>() : placesOf(before);
  const passwords = new Map<string, SourcePassword | 'keep'>();
  for (const [name, place] of places) {
    const password = given?.[name];
    if (typeof password === 'string') passwords.set(name, { place, password });
    if (password !== undefined) continue;
    if (placesBefore.get(name) === place) passwords.set(name, 'keep');
    else if (before !== null) throw passwordError(name, 'is missing; send it for this server and user, or null when they need none');
  }
  return Object.fromEntries(passwords);
}

function placesOf(source: SourceOptions): ReadonlyMap<string, string> {
  return checkOf(source).partPlaces?.(source) ?? new Map();
}

function passwordError(name: string, message: string): Error {
  return fieldError('request_invalid', [{ field: `sourcePasswords.${name}`, message }]);
}
