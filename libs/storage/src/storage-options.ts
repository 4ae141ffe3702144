import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import {
  azureBlobAddress,
  azureBlobCredentialsSchema,
  azureBlobLocation,
  azureBlobOptionsSchema,
} from './azure-blob/azure-blob-options.ts';
import { ftpAddress, ftpCredentialsSchema, ftpLocation, ftpOptionsSchema } from './ftp/ftp-options.ts';
import {
  gcpStorageAddress,
  gcpStorageCredentialsSchema,
  gcpStorageLocation,
  gcpStorageOptionsSchema,
} from './gcp-storage/gcp-storage-options.ts';
import { localLocation, localOptionsSchema } from './local/local-options.ts';
import { addressOfEndpoint, type RemoteAddress } from './remote/remote-options.ts';
import { s3Address, s3CredentialsSchema, s3Location, s3OptionsSchema } from './s3/s3-options.ts';
import { sftpAddress, sftpCredentialsSchema, sftpLocation, sftpOptionsSchema } from './sftp/sftp-options.ts';

/**
 * Where a repository is put, as a config says it: `{ "type": "local", "path": "/backups/a" }`, and what lets us in there:
 * `{ "accessKeyId": …, "secretAccessKey": … }`. Options are discriminated by `type` and hold no secret; credentials are secrets,
 * sealed at rest. A field that is not known is an error. Nothing here touches disk or network, so that the API can import it.
 */
export const storageOptionsSchema = z.discriminatedUnion('type', [
  localOptionsSchema,
  s3OptionsSchema,
  azureBlobOptionsSchema,
  gcpStorageOptionsSchema,
  ftpOptionsSchema,
  sftpOptionsSchema,
]);

export type StorageOptions = z.infer<typeof storageOptionsSchema>;
export type RemoteStorageOptions = Exclude<StorageOptions, { type: 'local' }>;
type StorageKind = StorageOptions['type'];

const credentialsSchemas = {
  s3: s3CredentialsSchema,
  azure_blob: azureBlobCredentialsSchema,
  gcp_storage: gcpStorageCredentialsSchema,
  ftp: ftpCredentialsSchema,
  sftp: sftpCredentialsSchema,
} as const satisfies Record<RemoteStorageOptions['type'], z.ZodType>;

export type StorageCredentials<Kind extends RemoteStorageOptions['type'] = RemoteStorageOptions['type']> = z.infer<
  (typeof credentialsSchemas)[Kind]
>;

/** Options that change neither where requests go nor whom they trust: credentials stay good when these change. */
const unrelatedToCredentials: ReadonlySet<string> = new Set([
  'maxConnections',
  'uploadBytesPerSecond',
  'downloadBytesPerSecond',
  'storageClass',
  'accessTier',
  'serverSideEncryption',
  'kmsKeyId',
  'kmsKeyName',
  'objectLock',
  'immutability',
  'retention',
  'verifyUploads',
  'appendOnly',
]);

/** Errors: type_not_supported for a kind that is not known, request_invalid for anything else that does not fit. */
export function parseStorageOptions(value: unknown): StorageOptions {
  const type: unknown = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
  const built: readonly string[] = storageOptionsSchema.options.map((option) => option.shape.type.value);
  if (typeof type === 'string' && !built.includes(type)) {
    throw new HoldfastError('type_not_supported', `storage of type ${JSON.stringify(type)} is not built; there is: ${built.join(', ')}`);
  }
  const parsed = storageOptionsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HoldfastError('request_invalid', `storage options do not fit: ${z.prettifyError(parsed.error)}`, { cause: parsed.error });
}

/** What is wrong with credentials, for the caller to see: field and message, never a value. */
export interface CredentialsIssue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** Credentials of a kind, or what is wrong with them; null is right where nothing is needed. */
export function checkStorageCredentials(
  kind: StorageKind,
  value: unknown,
): { readonly credentials: StorageCredentials | null } | { readonly issues: readonly CredentialsIssue[] } {
  if (kind === 'local') {
    if (value === null || value === undefined) return { credentials: null };
    return { issues: [{ path: [], message: 'are for a storage at a server; leave them out' }] };
  }
  const parsed = credentialsSchemas[kind].safeParse(value);
  if (parsed.success) return { credentials: parsed.data };
  return { issues: parsed.error.issues.map(({ path, message }) => ({ path, message })) };
}

/** As checkStorageCredentials, for what was checked before. Error: secret_unreadable. */
export function parseStorageCredentials<Kind extends RemoteStorageOptions['type']>(kind: Kind, value: unknown): StorageCredentials<Kind> {
  const parsed = credentialsSchemas[kind].safeParse(value);
  // oxlint-disable-next-line no-unsafe-type-assertion -- the schema was found under the same key
  if (parsed.success) return parsed.data as StorageCredentials<Kind>;
  throw new HoldfastError('secret_unreadable', `the credentials for a storage of type ${kind} are not what this version takes`);
}

/** Whether credentials are the worker's own rights, which the operator must have allowed. */
export function areAmbient(credentials: StorageCredentials | null): boolean {
  return credentials !== null && 'from' in credentials;
}

/** Equal for two options that lead to the same place: `local:/backups/a`, `sftp:backup@host:22/a`. Holds no secret. */
export function locationKey(options: StorageOptions): string {
  switch (options.type) {
    case 'local':
      return localLocation(options);
    case 's3':
      return s3Location(options);
    case 'azure_blob':
      return azureBlobLocation(options);
    case 'gcp_storage':
      return gcpStorageLocation(options);
    case 'ftp':
      return ftpLocation(options);
    case 'sftp':
    default:
      return sftpLocation(options);
  }
}

/** The servers that options have a worker talk to: the storage's own and a proxy. None for a folder. */
export function storageAddresses(options: StorageOptions): readonly RemoteAddress[] {
  if (options.type === 'local') return [];
  const proxy = 'proxy' in options && options.proxy !== undefined ? [addressOfEndpoint(options.proxy)] : [];
  return [addressOf(options), ...proxy];
}

/**
 * What credentials are given for: server, account, folder, and whom a connection trusts (authorities, host keys, proxy). When it changes
 * they have to be given again, so that nobody has them sent elsewhere by a change of options. Undefined where none are needed.
 */
export function credentialsPlace(options: StorageOptions): string | undefined {
  if (options.type === 'local') return undefined;
  const related = Object.entries(options).filter(([name, value]) => value !== undefined && !unrelatedToCredentials.has(name));
  const text = JSON.stringify(related.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return `${locationKey(options)} ${createHash('sha256').update(text).digest('base64url')}`;
}

function addressOf(options: RemoteStorageOptions): RemoteAddress {
  switch (options.type) {
    case 's3':
      return s3Address(options);
    case 'azure_blob':
      return azureBlobAddress(options);
    case 'gcp_storage':
      return gcpStorageAddress(options);
    case 'ftp':
      return ftpAddress(options);
    case 'sftp':
    default:
      return sftpAddress(options);
  }
}
