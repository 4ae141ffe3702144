import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseMasterKey, type MasterKey } from '@holdfast/database/sealed-secret';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { parseWorkerLabels, workerLabelMessage, workerLabelsMaxCount } from '@holdfast/policy/routing';
import { assertSchedule } from '@holdfast/policy/schedule';
import { parseRoots } from '@holdfast/sources/allowed-roots';
import { parseAllowedHosts, type HostPattern } from '@holdfast/policy/allowed-hosts';
import { readSettings, readWith, type Environment } from '@holdfast/settings/read-settings';
import {
  absoluteFolderSetting,
  ambientCredentialsSetting,
  hostsMessage,
  hostsSetting,
  databaseUrlSetting,
  graceSecondsSetting,
  logLevelSetting,
  masterKeyMessage,
  masterKeySetting,
  portSetting,
  redisUrlSetting,
  rootsMessage,
  rootsSetting,
} from '@holdfast/settings/settings-schemas';
import { z } from 'zod';

/** Settings of the worker, from environment variables. An empty one counts as not given. */
export interface WorkerConfig {
  readonly databaseUrl: string;
  readonly redisUrl: string | undefined;
  readonly masterKey: MasterKey;
  readonly sourceRoots: readonly string[];
  /** Where configs of logs may have files removed that are backed up and verified. */
  readonly logRemovalRoots: readonly string[];
  readonly storageRoots: readonly string[];
  readonly targetRoots: readonly string[];
  /** Database servers that may be backed up and recovered to. */
  readonly databaseHosts: readonly HostPattern[];
  /** Servers at which repositories may be made. */
  readonly storageHosts: readonly HostPattern[];
  /** Whether a config may name a worker's own rights (environment, instance role) as its credentials. */
  readonly allowAmbientCredentials: boolean;
  /** Folders of pg_dump, pg_dumpall and psql; none to look for them. */
  readonly postgresqlBinFolders: readonly string[];
  /** Folders of mariadb-dump and mariadb, or mysqldump and mysql; none to look for them on the PATH. */
  readonly mysqlBinFolders: readonly string[];
  /** Programs that freeze and thaw applications; undefined for none. */
  readonly hooksDir: string | undefined;
  /** Hosts that may be asked to freeze and thaw. */
  readonly hookHosts: readonly HostPattern[];
  /** Restore tests are made here and removed again. */
  readonly scratchDir: string;
  /** What is read again and again from storages at servers is kept here. */
  readonly storageCacheDir: string;
  /** 0 keeps nothing. */
  readonly storageCacheBytes: number;
  /** Where `GET /metrics` is answered; undefined for nowhere. */
  readonly metricsPort: number | undefined;
  readonly metricsHost: string;
  /** Where browse requests of the API are answered. */
  readonly browseHost: string;
  /** 0 lets the system choose a free one. */
  readonly browsePort: number;
  /** What the API calls it by; undefined for host and port. */
  readonly browseUrl: string | undefined;
  /** What it can reach, in the operator's words. */
  readonly labels: readonly string[];
  /** True for one that takes no runs but those that name one of its labels. */
  readonly labelsOnly: boolean;
  /** Runs at a time of each kind, whatever their labels. */
  readonly concurrency: number;
  readonly shutdownGraceMs: number;
  /** What a replication slot may make its server keep before it counts as a warning. */
  readonly slotWarningBytes: number;
  /** Cron expression, UTC. */
  readonly cleanupSchedule: string;
  readonly logLevel: z.output<typeof logLevelSetting>;
  readonly logPretty: boolean;
}

/** A worker is one process with a bounded memory; more work at a time is what more workers are for. */
const maxConcurrency = 32;
/** 8 GiB: much for what was written since the last run, and little of most servers' disks. */
const defaultSlotWarningBytes = 8 * 1024 ** 3;
/** 1 GiB: the index and the trees of some ten million files. */
const defaultStorageCacheBytes = 1024 ** 3;
const roots = rootsSetting.transform(readWith(parseRoots, rootsMessage));
const allowedHosts = hostsSetting.transform(readWith(parseAllowedHosts, hostsMessage));
const labelsMessage = `must be at most ${workerLabelsMaxCount} labels with commas between them; each ${workerLabelMessage}`;

/** A scheme, a name and a port, with nothing behind them. */
const originSetting = z.string().refine((text) => isOrigin(text), 'must be http:// or https:// with a name and a port, and no path');

export const workerEnvironmentSchema = z.object({
  DATABASE_URL: databaseUrlSetting,
  REDIS_URL: redisUrlSetting,
  HOLDFAST_MASTER_KEY: masterKeySetting.transform(readWith(parseMasterKey, masterKeyMessage)),
  HOLDFAST_SOURCE_ROOTS: roots,
  HOLDFAST_LOG_REMOVAL_ROOTS: roots,
  HOLDFAST_STORAGE_ROOTS: roots,
  HOLDFAST_TARGET_ROOTS: roots,
  HOLDFAST_DATABASE_HOSTS: allowedHosts,
  HOLDFAST_STORAGE_HOSTS: allowedHosts,
  HOLDFAST_STORAGE_AMBIENT_CREDENTIALS: ambientCredentialsSetting,
  HOLDFAST_POSTGRESQL_BIN: roots,
  HOLDFAST_MYSQL_BIN: roots,
  HOLDFAST_HOOKS_DIR: absoluteFolderSetting,
  HOLDFAST_HOOK_HOSTS: allowedHosts,
  HOLDFAST_SCRATCH_DIR: absoluteFolderSetting,
  HOLDFAST_STORAGE_CACHE_DIR: absoluteFolderSetting,
  HOLDFAST_STORAGE_CACHE_BYTES: z.coerce.number().int().min(0).default(defaultStorageCacheBytes),
  HOLDFAST_WORKER_METRICS_HOST: z.string().default('127.0.0.1'),
  HOLDFAST_WORKER_METRICS_PORT: portSetting.optional(),
  HOLDFAST_WORKER_BROWSE_HOST: z.string().default('127.0.0.1'),
  HOLDFAST_WORKER_BROWSE_PORT: portSetting.default(0),
  HOLDFAST_WORKER_BROWSE_URL: originSetting.optional(),
  HOLDFAST_WORKER_LABELS: z.string().default('').transform(readWith(parseWorkerLabels, labelsMessage)),
  HOLDFAST_WORKER_LABELS_ONLY: z.stringbool().default(false),
  HOLDFAST_WORKER_CONCURRENCY: z.coerce.number().int().min(1).max(maxConcurrency).default(2),
  HOLDFAST_SHUTDOWN_GRACE_SECONDS: graceSecondsSetting,
  HOLDFAST_SLOT_WARNING_BYTES: z.coerce.number().int().min(1).default(defaultSlotWarningBytes),
  HOLDFAST_CLEANUP_SCHEDULE: z.string().default('0 3 * * *').refine(isSchedule, 'must be a cron expression of five or six fields'),
  LOG_LEVEL: logLevelSetting,
  HOLDFAST_LOG_PRETTY: z.stringbool().default(false),
});

/** Throws configuration_invalid, which names every variable that does not fit but repeats no value. */
export function readWorkerConfig(environment: Environment): WorkerConfig {
  const settings = readSettings(workerEnvironmentSchema, environment);
  if (settings.HOLDFAST_WORKER_LABELS_ONLY && settings.HOLDFAST_WORKER_LABELS.length === 0) {
    throw new HoldfastError(
      'configuration_invalid',
      'settings are wrong: HOLDFAST_WORKER_LABELS_ONLY: is true and HOLDFAST_WORKER_LABELS names no label, so the worker would never do anything',
    );
  }
  const scratchDir = settings.HOLDFAST_SCRATCH_DIR ?? join(tmpdir(), 'holdfast-scratch');
  return {
    databaseUrl: settings.DATABASE_URL,
    redisUrl: settings.REDIS_URL,
    masterKey: settings.HOLDFAST_MASTER_KEY,
    sourceRoots: settings.HOLDFAST_SOURCE_ROOTS,
    logRemovalRoots: settings.HOLDFAST_LOG_REMOVAL_ROOTS,
    storageRoots: settings.HOLDFAST_STORAGE_ROOTS,
    targetRoots: settings.HOLDFAST_TARGET_ROOTS,
    databaseHosts: settings.HOLDFAST_DATABASE_HOSTS,
    storageHosts: settings.HOLDFAST_STORAGE_HOSTS,
    allowAmbientCredentials: settings.HOLDFAST_STORAGE_AMBIENT_CREDENTIALS,
    postgresqlBinFolders: settings.HOLDFAST_POSTGRESQL_BIN,
    mysqlBinFolders: settings.HOLDFAST_MYSQL_BIN,
    hooksDir: settings.HOLDFAST_HOOKS_DIR,
    hookHosts: settings.HOLDFAST_HOOK_HOSTS,
    scratchDir,
    storageCacheDir: settings.HOLDFAST_STORAGE_CACHE_DIR ?? join(scratchDir, 'storage-cache'),
    storageCacheBytes: settings.HOLDFAST_STORAGE_CACHE_BYTES,
    metricsPort: settings.HOLDFAST_WORKER_METRICS_PORT,
    metricsHost: settings.HOLDFAST_WORKER_METRICS_HOST,
    browseHost: settings.HOLDFAST_WORKER_BROWSE_HOST,
    browsePort: settings.HOLDFAST_WORKER_BROWSE_PORT,
    browseUrl: settings.HOLDFAST_WORKER_BROWSE_URL,
    labels: settings.HOLDFAST_WORKER_LABELS,
    labelsOnly: settings.HOLDFAST_WORKER_LABELS_ONLY,
    concurrency: settings.HOLDFAST_WORKER_CONCURRENCY,
    shutdownGraceMs: settings.HOLDFAST_SHUTDOWN_GRACE_SECONDS * 1000,
    slotWarningBytes: settings.HOLDFAST_SLOT_WARNING_BYTES,
    cleanupSchedule: settings.HOLDFAST_CLEANUP_SCHEDULE,
    logLevel: settings.LOG_LEVEL,
    logPretty: settings.HOLDFAST_LOG_PRETTY,
  };
}

function isOrigin(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url !== undefined && /^https?:$/u.test(url.protocol) && url.origin === text.replace(/\/$/u, '');
}

function isSchedule(pattern: string): boolean {
  try {
    assertSchedule({ pattern, timeZone: 'UTC' });
    return true;
  } catch {
    return false;
  }
}
