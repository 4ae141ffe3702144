import { isIP } from 'node:net';
import { z } from 'zod';
import { parseMasterKey, type MasterKey } from '@holdfast/database/sealed-secret';
import { readSettings, readWith, type Environment } from '@holdfast/settings/read-settings';
import {
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
import { parseRoots } from '@holdfast/sources/allowed-roots';
import { parseAllowedHosts, type HostPattern } from '@holdfast/policy/allowed-hosts';

/** HS256 is as strong as its secret; below the hash's own length it can be searched for. */
const jwtSecretMinChars = 32;
const rateLimitMaxPerMinute = 1_000_000;

const roots = rootsSetting.transform(readWith(parseRoots, rootsMessage));
const allowedHosts = hostsSetting.transform(readWith(parseAllowedHosts, hostsMessage));

/** IP addresses and networks in CIDR form; what is none is refused here and not at the first request. */
const proxiesSetting = z
  .string()
  .default('')
  .transform((text) =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  )
  .refine((parts) => parts.every(isAddressOrNetwork), 'must be IP addresses or networks, such as 10.0.0.0/8, with commas between them');

function isAddressOrNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/u.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128));
}

/** The settings of the API, as they stand in the environment. `.env.example` is held against this by a test. */
export const apiSettingsSchema = z.object({
  DATABASE_URL: databaseUrlSetting,
  REDIS_URL: redisUrlSetting,
  HOLDFAST_MASTER_KEY: masterKeySetting.transform(readWith(parseMasterKey, masterKeyMessage)),
  HOLDFAST_JWT_SECRET: z
    .string({ error: `is missing; give at least ${jwtSecretMinChars} random characters` })
    .min(jwtSecretMinChars, `must have at least ${jwtSecretMinChars} characters`),
  HOLDFAST_API_HOST: z.string().default('127.0.0.1'),
  HOLDFAST_API_PORT: portSetting.default(8080),
  HOLDFAST_SOURCE_ROOTS: roots,
  HOLDFAST_LOG_REMOVAL_ROOTS: roots,
  HOLDFAST_STORAGE_ROOTS: roots,
  HOLDFAST_TARGET_ROOTS: roots,
  HOLDFAST_DATABASE_HOSTS: allowedHosts,
  HOLDFAST_STORAGE_HOSTS: allowedHosts,
  HOLDFAST_HOOK_HOSTS: allowedHosts,
  HOLDFAST_STORAGE_AMBIENT_CREDENTIALS: ambientCredentialsSetting,
  HOLDFAST_SHUTDOWN_GRACE_SECONDS: graceSecondsSetting,
  HOLDFAST_RATE_LIMIT_PER_MINUTE: z.coerce.number().int().min(1).max(rateLimitMaxPerMinute).default(600),
  HOLDFAST_TRUSTED_PROXIES: proxiesSetting,
  LOG_LEVEL: logLevelSetting,
  HOLDFAST_LOG_PRETTY: z.stringbool().default(false),
});

export interface ApiConfig {
  readonly databaseUrl: string;
  readonly redisUrl: string | undefined;
  readonly masterKey: MasterKey;
  readonly jwtSecret: string;
  readonly host: string;
  /** 0 lets the system choose a free one. */
  readonly port: number;
  readonly sourceRoots: readonly string[];
  /** Where configs of logs may have files removed that are backed up and verified. */
  readonly logRemovalRoots: readonly string[];
  readonly storageRoots: readonly string[];
  readonly targetRoots: readonly string[];
  /** Database servers that may be backed up and recovered to. */
  readonly databaseHosts: readonly HostPattern[];
  /** Servers at which repositories may be made. */
  readonly storageHosts: readonly HostPattern[];
  /** Hosts that may be asked to freeze and thaw applications. */
  readonly hookHosts: readonly HostPattern[];
  /** Whether a config may name a worker's own rights (environment, instance role) as its credentials. */
  readonly allowAmbientCredentials: boolean;
  readonly shutdownGraceMs: number;
  readonly rateLimitPerMinute: number;
  /** Addresses and networks whose X-Forwarded-* headers are believed. */
  readonly trustedProxies: readonly string[];
  readonly logLevel: string;
  readonly logPretty: boolean;
}

/** Throws `configuration_invalid` that names each wrong variable, never its value. */
export function readApiConfig(environment: Environment): ApiConfig {
  const settings = readSettings(apiSettingsSchema, environment);
  return {
    databaseUrl: settings.DATABASE_URL,
    redisUrl: settings.REDIS_URL,
    masterKey: settings.HOLDFAST_MASTER_KEY,
    jwtSecret: settings.HOLDFAST_JWT_SECRET,
    host: settings.HOLDFAST_API_HOST,
    port: settings.HOLDFAST_API_PORT,
    sourceRoots: settings.HOLDFAST_SOURCE_ROOTS,
    logRemovalRoots: settings.HOLDFAST_LOG_REMOVAL_ROOTS,
    storageRoots: settings.HOLDFAST_STORAGE_ROOTS,
    targetRoots: settings.HOLDFAST_TARGET_ROOTS,
    databaseHosts: settings.HOLDFAST_DATABASE_HOSTS,
    storageHosts: settings.HOLDFAST_STORAGE_HOSTS,
    hookHosts: settings.HOLDFAST_HOOK_HOSTS,
    allowAmbientCredentials: settings.HOLDFAST_STORAGE_AMBIENT_CREDENTIALS,
    shutdownGraceMs: settings.HOLDFAST_SHUTDOWN_GRACE_SECONDS * 1000,
    rateLimitPerMinute: settings.HOLDFAST_RATE_LIMIT_PER_MINUTE,
    trustedProxies: settings.HOLDFAST_TRUSTED_PROXIES,
    logLevel: settings.LOG_LEVEL,
    logPretty: settings.HOLDFAST_LOG_PRETTY,
  };
}
