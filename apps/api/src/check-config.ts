import { assertSchedule, isTimeZone } from '@holdfast/policy/schedule';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { isCompressionContradictory, type BackupOptions } from '@holdfast/jobs/backup-options';
import { isAllowedHost } from '@holdfast/policy/allowed-hosts';
import { sourceTypes, type SourceOptions } from '@holdfast/sources/source-options';
import {
  areAmbient,
  checkStorageCredentials,
  storageAddresses,
  storageOptionsSchema,
  type StorageCredentials,
  type StorageOptions,
} from '@holdfast/storage/storage-options';
import { hostRemedy, outside, refuse } from './allowed-places.ts';
import { checkSource, whyNoPassword } from './check-source.ts';
import type { ApiConfig } from './config.ts';
import { fieldError, type FieldError } from './problem.ts';

/** Every kind that has a name here, built or not. */
export const backupTypes = ['database_full', 'database_incremental', 'file_system', 'application_data', 'configuration', 'logs'] as const;
export type BackupType = (typeof backupTypes)[number];
export const storageLocations = ['local', 's3', 'azure_blob', 'gcp_storage', 'ftp', 'sftp'] as const;
export const recoveryTypes = ['full', 'point_in_time', 'selective'] as const;

export const builtSourceTypes: readonly string[] = sourceTypes;
export const builtStorageLocations: readonly string[] = storageOptionsSchema.options.map((option) => option.shape.type.value);
/** What a backup type reads; it is built when that source is. */
const sourceTypeByBackupType = {
  database_full: 'postgresql',
  database_incremental: 'postgresql_wal',
  file_system: 'file_system',
  application_data: 'application_data',
  configuration: 'configuration',
  logs: 'logs',
} as const satisfies Record<BackupType, string>;
/** The database of the service is an application's data too, as a source of its own. */
const otherSourceTypes: { readonly [T in BackupType]?: readonly string[] } = { application_data: ['own_database'] };
const sourceTypesOf = (type: BackupType): readonly string[] => [sourceTypeByBackupType[type], ...(otherSourceTypes[type] ?? [])];
export const builtBackupTypes: readonly string[] = backupTypes.filter((type) =>
  sourceTypesOf(type).some((sourceType) => builtSourceTypes.includes(sourceType)),
);

/** Refuses, before anything else is looked at, what has a name but is not built. Code: type_not_supported. */
export function refuseUnbuilt(body: unknown, field: string, known: readonly string[], built: readonly string[]): void {
  const value: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, field) : undefined;
  if (typeof value !== 'string' || !known.includes(value) || built.includes(value)) return;
  throw fieldError('type_not_supported', [{ field, message: `${value} is not supported yet; there is: ${built.join(', ')}` }]);
}

export interface CheckedConfig {
  readonly backupType: BackupType;
  readonly source: SourceOptions;
  readonly sourcePassword: string | null | undefined;
  readonly schedule: string | null;
  readonly timeZone: string;
  readonly compressionEnabled: boolean;
  readonly options: BackupOptions;
  readonly encryptionEnabled: boolean;
  readonly encryptionKey: string | undefined;
  readonly storageLocation: string;
  readonly storageOptions: StorageOptions;
}

/**
 * What no single field shows: types that belong together, the schedule, paths inside the roots (their text only; the worker looks
 * through symlinks), and servers among the allowed ones. Of an inactive config that keeps its source the source need not be within reach. Codes: request_invalid, schedule_invalid, path_outside_roots,
 * postgresql_host_not_allowed, storage_host_not_allowed.
 */
export function checkConfig(
  config: CheckedConfig,
  settings: Pick<ApiConfig, 'sourceRoots' | 'logRemovalRoots' | 'storageRoots' | 'databaseHosts' | 'storageHosts' | 'hookHosts'>,
  { readsSource = true }: { readonly readsSource?: boolean } = {},
): void {
  const mismatches: FieldError[] = [];
  const fitting = sourceTypesOf(config.backupType);
  if (!fitting.includes(config.source.type)) {
    mismatches.push({ field: 'source.type', message: `must be ${fitting.join(' or ')}, as backupType says` });
  }
  mismatches.push(...placeMismatches(config));
  const withoutPassword = whyNoPassword(config.source);
  if (withoutPassword !== null && typeof config.sourcePassword === 'string') {
    mismatches.push({ field: 'sourcePassword', message: `${withoutPassword}; leave it out` });
  }
  if (isCompressionContradictory(config.compressionEnabled, config.options)) {
    mismatches.push({ field: 'options.compression', message: 'must be off or left out while compressionEnabled is false' });
  }
  refuse('request_invalid', mismatches);
  checkSchedule(config.schedule, config.timeZone);
  if (readsSource) checkSource(config.source, settings);
  checkStorage(config.storageOptions, settings);
}

type CheckedPlace = Pick<CheckedConfig, 'encryptionEnabled' | 'encryptionKey' | 'storageLocation' | 'storageOptions'>;

function placeMismatches({ encryptionEnabled, encryptionKey, storageLocation, storageOptions }: CheckedPlace): FieldError[] {
  const mismatches: FieldError[] = [];
  if (storageOptions.type !== storageLocation) {
    mismatches.push({ field: 'storageOptions.type', message: `must be ${storageLocation}, as storageLocation says` });
  }
  if (!encryptionEnabled && encryptionKey !== undefined) {
    mismatches.push({ field: 'encryptionKey', message: 'is given while encryptionEnabled is false; leave it out, or turn encryption on' });
  }
  return mismatches;
}

/** The place of a repository that no config has. Codes: request_invalid, path_outside_roots, storage_host_not_allowed. */
export function checkPlace(place: CheckedPlace, settings: Pick<ApiConfig, 'storageRoots' | 'storageHosts'>): void {
  refuse('request_invalid', placeMismatches(place));
  checkStorage(place.storageOptions, settings);
}

/** Codes: path_outside_roots, storage_host_not_allowed. */
export function checkStorage(
  options: StorageOptions,
  { storageRoots, storageHosts }: Pick<ApiConfig, 'storageRoots' | 'storageHosts'>,
): void {
  if (options.type === 'local') {
    refuse('path_outside_roots', outside('storageOptions.path', options.path, storageRoots, 'HOLDFAST_STORAGE_ROOTS'));
  }
  for (const server of storageAddresses(options)) {
    if (isAllowedHost(server, storageHosts)) continue;
    throw fieldError('storage_host_not_allowed', [
      { field: 'storageOptions', message: hostRemedy(server, storageHosts, 'HOLDFAST_STORAGE_HOSTS') },
    ]);
  }
}

/**
 * Credentials that fit the options; undefined when none were given, which keeps those that are known. Code: request_invalid, which says
 * no value.
 */
export function credentialsFor(
  options: StorageOptions,
  given: unknown,
  { allowAmbientCredentials }: Pick<ApiConfig, 'allowAmbientCredentials'>,
): StorageCredentials | undefined {
  if (given === undefined) return undefined;
  const checked = checkStorageCredentials(options.type, given);
  const field = 'storageCredentials';
  if ('issues' in checked) {
    refuse(
      'request_invalid',
      checked.issues.map(({ path, message }) => ({ field: [field, ...path].join('.'), message })),
    );
  } else if (areAmbient(checked.credentials) && !allowAmbientCredentials) {
    const message = "are the worker's own rights, which the operator has to allow by HOLDFAST_STORAGE_AMBIENT_CREDENTIALS";
    refuse('request_invalid', [{ field, message }]);
  }
  return ('credentials' in checked ? checked.credentials : null) ?? undefined;
}

/** Code: schedule_invalid. */
export function checkSchedule(schedule: string | null, timeZone: string): void {
  if (!isTimeZone(timeZone)) {
    throw fieldError('schedule_invalid', [
      { field: 'timeZone', message: 'is not an IANA time zone; send one such as Europe/Berlin or UTC' },
    ]);
  }
  if (schedule === null) return;
  try {
    assertSchedule({ pattern: schedule, timeZone });
  } catch (error) {
    if (!isHoldfastError(error, 'schedule_invalid')) throw error;
    throw new HoldfastError('schedule_invalid', error.message, {
      cause: error,
      context: { errors: [{ field: 'schedule', message: `${error.message}; send five fields such as 0 3 * * *` }] },
    });
  }
}
