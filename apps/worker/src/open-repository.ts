import { recordRepositoryState, repositoryPassword, storageCredentials, type RepositoryRow } from '@holdfast/database/repositories';
import type { RunKind } from '@holdfast/database/run-kinds';
import { openOrCreateRepository } from '@holdfast/engine/create-repository';
import type { Repository } from '@holdfast/engine/repository';
import { asHoldfastError, HoldfastError } from '@holdfast/errors/holdfast-error';
import { assertAllowedHost } from '@holdfast/policy/allowed-hosts';
import { resolveInsideRoots } from '@holdfast/sources/allowed-roots';
import { openCachingStorage } from '@holdfast/storage/wrappers/caching-storage';
import { openLimitingStorage, type BandwidthLimits } from '@holdfast/storage/wrappers/limiting-storage';
import { openStorage } from '@holdfast/storage/open-storage';
import { credentialsPlace, locationKey, parseStorageOptions, type StorageOptions } from '@holdfast/storage/storage-options';
import type { Storage } from '@holdfast/storage/storage';
import type { RunInHand } from './run-with-claim.ts';
import type { WorkerContext } from './worker-context.ts';

/**
 * Opens the storage of a repository's row; a local folder must lie inside the allowed storage roots, a server be among the allowed ones.
 * Codes: path_outside_roots, storage_host_not_allowed, secret_unreadable, type_not_supported, those of the storage.
 */
export async function openStorageOf(
  context: WorkerContext,
  row: Pick<RepositoryRow, 'id' | 'storageOptions'>,
  patience?: PatienceOptions,
): Promise<Storage> {
  const { database, masterKey } = context;
  const sealed = (options: StorageOptions): Promise<string | null> =>
    storageCredentials(database.client, row.id, credentialsPlace(options) ?? '', masterKey);
  return openStorageAt(context, row.storageOptions, sealed, patience);
}

export interface PatienceOptions {
  /** How long calls are tried again while the storage is out of reach; minutes when not given. */
  readonly giveUpAfterMs?: number | undefined;
}

/** As openStorageOf, for options that need not be a repository's; `credentials` gives JSON text. */
export async function openStorageAt(
  { config, logger, storageMetrics }: WorkerContext,
  storageOptions: unknown,
  credentials: (options: StorageOptions) => Promise<string | null>,
  { giveUpAfterMs }: PatienceOptions = {},
): Promise<Storage> {
  const options = parseStorageOptions(storageOptions);
  const { type } = options;
  return openStorage(options, {
    checkPath: (path) => resolveInsideRoots(path, config.storageRoots),
    checkServer: (server) => assertAllowedHost(server, config.storageHosts, 'storage_host_not_allowed'),
    allowAmbientCredentials: config.allowAmbientCredentials,
    giveUpAfterMs,
    async credentials() {
      const text = await credentials(options);
      return text === null ? null : JSON.parse(text);
    },
    onCall: (call) => type !== 'local' && storageMetrics.onCall(type, call),
    onRetry({ operation, name, failureCount, delayMs, error }) {
      if (type !== 'local') storageMetrics.onRetry(type, operation);
      const { code, message } = asHoldfastError(error);
      logger.warn(
        { location: locationKey(options), operation, object: name, failureCount, delayMs, code, reason: message },
        'a storage is asked again',
      );
    },
  });
}

type RunThatOpens = Pick<RunInHand<RunKind>, 'context' | 'signal' | 'onFailure'>;

interface OpenOptions {
  readonly create: boolean;
  /** With what this process knows of the index and of snapshots from before; otherwise all of it is read again. */
  readonly warm: boolean;
  /**
   * Whether what this machine's disk keeps of a storage at a server is read instead of it; as `warm` when not given. Not for whoever is to
   * find out whether the storage is whole, or to remove what nobody names.
   */
  readonly cached?: boolean;
  /** How fast the run may read and write; by default as fast as it goes. */
  readonly limits?: BandwidthLimits;
  /** Of another repository, for one that is made: see createRepository. */
  readonly chunkerPolynomial?: bigint;
}

/** After these what is kept of a repository may be what is wrong, or may not be used any longer. */
const distrusted: readonly string[] = ['repository_password_wrong', 'repository_damaged'];

/**
 * Opens a row's repository and notes on the row what was seen. With `create` a repository is made where none was ever seen: one
 * that was there and is missing now (a disk that is not mounted) is never made anew, which would hide the loss.
 * Codes: secret_unreadable, repository_missing, repository_password_wrong, repository_damaged, those of openStorageOf.
 */
export async function openRepositoryOf(run: RunThatOpens, row: RepositoryRow, options: OpenOptions): Promise<Repository> {
  const { context } = run;
  const startedAtMs = performance.now();
  let repository: Repository | undefined;
  try {
    repository = await open(run, row, options);
    const probeLatencyMs = Math.round(performance.now() - startedAtMs);
    const probed = { probedAt: context.clock.now(), probeLatencyMs, probeErrorCode: null };
    await recordRepositoryState(context.database.client, row.id, { ...probed, state: 'ready', resticId: repository.id });
    return repository;
  } catch (error) {
    await repository?.close();
    const { code } = asHoldfastError(error);
    const state = stateFor(code);
    if (state !== undefined) {
      const seen = { state, probedAt: context.clock.now(), probeLatencyMs: null, probeErrorCode: code };
      await recordRepositoryState(context.database.client, row.id, seen);
    }
    throw error;
  }
}

/**
 * Opens a row's repository to look into it, with what this process knows of it from before. Nothing is noted on the row: a worker that cannot
 * see it says nothing of the repository. Codes: as openRepositoryOf.
 */
export async function openRepositoryToBrowse(context: WorkerContext, row: RepositoryRow, signal: AbortSignal): Promise<Repository> {
  return await open({ context, signal, onFailure: () => undefined }, row, { create: false, warm: true });
}

/** What an error that came of opening says of the repository; nothing when it says something of us. */
export function stateFor(code: string): 'unreachable' | 'damaged' | undefined {
  if (code === 'repository_damaged') return 'damaged';
  return code === 'repository_missing' || code === 'storage_denied' || code === 'storage_unreachable' ? 'unreachable' : undefined;
}

/** Without a limit the storage itself, which threads can use by themselves. */
function limitedStorage(storage: Storage, limits: BandwidthLimits = {}): Storage {
  const isLimited = limits.uploadBytesPerSecond !== undefined || limits.downloadBytesPerSecond !== undefined;
  return isLimited ? openLimitingStorage(storage, limits) : storage;
}

/** With what the disk keeps of a storage at a server. Each row has its own: tenants learn nothing of each other's repositories. */
function cachedStorage({ storageCache }: WorkerContext, row: RepositoryRow, storage: Storage, reads: boolean): Storage {
  if (storageCache === null || parseStorageOptions(row.storageOptions).type === 'local') return storage;
  return openCachingStorage(storage, { place: storageCache.place(`${row.id} ${storage.location}`), reads });
}

async function open(
  { context, signal, onFailure }: RunThatOpens,
  row: RepositoryRow,
  { create, warm, cached = warm, limits, chunkerPolynomial }: OpenOptions,
): Promise<Repository> {
  const password = await repositoryPassword(context.database.client, row.id, context.masterKey);
  const storage = cachedStorage(context, row, limitedStorage(await openStorageOf(context, row), limits), cached);
  onFailure(({ code }) => {
    if (distrusted.includes(code)) context.repositories.evict(storage.location);
  });
  let repository: Repository | undefined;
  try {
    const { hostname, username, clock, repositories } = context;
    const polynomial = chunkerPolynomial === undefined ? {} : { chunkerPolynomial };
    repository =
      create && row.resticId === null
        ? await openOrCreateRepository({ storage, password, hostname, username, clock, signal, ...polynomial })
        : await repositories.open({ storage, password, signal, keysOnly: !warm });
    if (row.resticId !== null && row.resticId !== repository.id) {
      throw new HoldfastError('repository_missing', `another repository lies at ${storage.location} than the one that was written to`, {
        context: { expected: row.resticId, found: repository.id },
      });
    }
    return repository;
  } catch (error) {
    await (repository ?? storage).close();
    throw error;
  }
}
