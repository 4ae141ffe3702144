import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { openLocalStorage } from './local/local-storage.ts';
import { type AdapterSettings, defaultIdleTimeoutMs, defaultMaxConnections } from './remote/adapter-settings.ts';
import type { RemoteAddress } from './remote/remote-options.ts';
import {
  areAmbient,
  parseStorageCredentials,
  storageAddresses,
  type RemoteStorageOptions,
  type StorageOptions,
} from './storage-options.ts';
import type { Storage } from './storage.ts';
import { openAppendOnlyStorage } from './wrappers/append-only-storage.ts';
import { openLimitingStorage } from './wrappers/limiting-storage.ts';
import { type MeteredCall, openMeteringStorage } from './wrappers/metering-storage.ts';
import { defaultRetryPolicy, openRetryingStorage, type Retry } from './wrappers/retrying-storage.ts';

export interface OpenStorageDeps {
  /** Whether a local folder may be used, and its real path: `(path) => resolveInsideRoots(path, roots)`. There is no way round it. */
  readonly checkPath: (path: string) => Promise<string>;
  /** Throws for a server that may not be talked to. There is no way round it either. */
  readonly checkServer: (server: RemoteAddress) => void;
  /** What lets us in, as it was unsealed; null for a local folder. Read only for a server. */
  readonly credentials: () => Promise<unknown>;
  /** Whether credentials may be the worker's own rights. */
  readonly allowAmbientCredentials: boolean;
  /** How long calls are tried again while the storage is out of reach; the retrying storage's default when not given. */
  readonly giveUpAfterMs?: number | undefined;
  /** After which a silent connection is ended; half a minute when not given. */
  readonly idleTimeoutMs?: number;
  readonly onCall?: (call: MeteredCall) => void;
  readonly onRetry?: (retry: Retry) => void;
}

/**
 * Opens the storage that `options` name. One at a server has its calls tried again while the server is out of reach, each try told of,
 * and the rates of its options; its kind's library is loaded only now. An append-only one deletes nothing but locks.
 * Errors: what the checks throw (path_outside_roots, storage_host_not_allowed), secret_unreadable, storage_denied, storage_unreachable.
 */
export async function openStorage(options: StorageOptions, deps: OpenStorageDeps): Promise<Storage> {
  const storage = await openAsNamed(options, deps);
  return options.appendOnly === true ? openAppendOnlyStorage(storage) : storage;
}

async function openAsNamed(options: StorageOptions, deps: OpenStorageDeps): Promise<Storage> {
  if (options.type === 'local') return openLocalStorage({ path: await deps.checkPath(options.path) });
  for (const server of storageAddresses(options)) deps.checkServer(server);
  const settings = {
    idleTimeoutMs: deps.idleTimeoutMs ?? defaultIdleTimeoutMs,
    maxConnections: options.maxConnections ?? defaultMaxConnections,
  };
  const adapter = await openAdapter(options, await deps.credentials(), settings, deps.allowAmbientCredentials);
  const metered = deps.onCall === undefined ? adapter : openMeteringStorage(adapter, deps.onCall);
  const policy = {
    ...defaultRetryPolicy,
    ...(deps.giveUpAfterMs === undefined ? {} : { giveUpAfterMs: deps.giveUpAfterMs }),
    ...(deps.onRetry === undefined ? {} : { onRetry: deps.onRetry }),
  };
  return limited(openRetryingStorage(metered, policy), options);
}

async function openAdapter(
  options: RemoteStorageOptions,
  given: unknown,
  settings: AdapterSettings,
  allowAmbientCredentials: boolean,
): Promise<Storage> {
  if (!allowAmbientCredentials && areAmbient(parseStorageCredentials(options.type, given))) {
    throw new HoldfastError('storage_denied', "the worker's own rights may not be used for a storage", {
      hint: 'give credentials, or let the operator set HOLDFAST_STORAGE_AMBIENT_CREDENTIALS',
    });
  }
  switch (options.type) {
    case 's3': {
      const { openS3Storage } = await import('./s3/s3-storage.ts');
      return openS3Storage(options, parseStorageCredentials(options.type, given), settings, { allowAmbient: allowAmbientCredentials });
    }
    case 'azure_blob': {
      const { openAzureBlobStorage } = await import('./azure-blob/azure-blob-storage.ts');
      return openAzureBlobStorage(options, parseStorageCredentials(options.type, given), settings);
    }
    case 'gcp_storage': {
      const { openGcpStorage } = await import('./gcp-storage/gcp-storage-storage.ts');
      return openGcpStorage(options, parseStorageCredentials(options.type, given), settings);
    }
    case 'ftp': {
      const { openFtpStorage } = await import('./ftp/ftp-storage.ts');
      return openFtpStorage(options, parseStorageCredentials(options.type, given), settings);
    }
    case 'sftp':
    default: {
      const { openSftpStorage } = await import('./sftp/sftp-storage.ts');
      return openSftpStorage(options, parseStorageCredentials(options.type, given), settings);
    }
  }
}

function limited(storage: Storage, { uploadBytesPerSecond, downloadBytesPerSecond }: RemoteStorageOptions): Storage {
  if (uploadBytesPerSecond === undefined && downloadBytesPerSecond === undefined) return storage;
  return openLimitingStorage(storage, { uploadBytesPerSecond, downloadBytesPerSecond });
}
