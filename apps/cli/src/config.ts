import { readSettings, type Environment } from '@holdfast/settings/read-settings';
import { absoluteFolderSetting, graceSecondsSetting, portSetting } from '@holdfast/settings/settings-schemas';
import { z } from 'zod';

const optionalText = z.string().optional();

/** The settings that the command itself reads; what the API and the workers read goes through to them untouched. */
export const cliSettingsSchema = z.object({
  DATABASE_URL: optionalText,
  HOLDFAST_MASTER_KEY: optionalText,
  HOLDFAST_JWT_SECRET: optionalText,
  HOLDFAST_STATE_DIR: absoluteFolderSetting,
  HOLDFAST_API_HOST: z.string().default('127.0.0.1'),
  HOLDFAST_API_PORT: portSetting.optional(),
  HOLDFAST_SOURCE_ROOTS: optionalText,
  HOLDFAST_STORAGE_ROOTS: optionalText,
  HOLDFAST_TARGET_ROOTS: optionalText,
  HOLDFAST_SCRATCH_DIR: absoluteFolderSetting,
  HOLDFAST_SHUTDOWN_GRACE_SECONDS: graceSecondsSetting,
  NO_COLOR: optionalText,
});

export interface CliConfig {
  readonly databaseUrl: string | undefined;
  readonly masterKey: string | undefined;
  readonly jwtSecret: string | undefined;
  readonly apiHost: string;
  /** Undefined when nobody asked for one: then 8080, or a free one when that is taken. */
  readonly apiPort: number | undefined;
  readonly sourceRoots: string | undefined;
  readonly storageRoots: string | undefined;
  readonly targetRoots: string | undefined;
  readonly scratchFolder: string | undefined;
  readonly shutdownGraceMs: number;
}

/** Throws `configuration_invalid` that names each wrong variable, never its value. */
export function readCliConfig(environment: Environment): CliConfig {
  const settings = readSettings(cliSettingsSchema, environment);
  return {
    databaseUrl: settings.DATABASE_URL,
    masterKey: settings.HOLDFAST_MASTER_KEY,
    jwtSecret: settings.HOLDFAST_JWT_SECRET,
    apiHost: settings.HOLDFAST_API_HOST,
    apiPort: settings.HOLDFAST_API_PORT,
    sourceRoots: settings.HOLDFAST_SOURCE_ROOTS,
    storageRoots: settings.HOLDFAST_STORAGE_ROOTS,
    targetRoots: settings.HOLDFAST_TARGET_ROOTS,
    scratchFolder: settings.HOLDFAST_SCRATCH_DIR,
    shutdownGraceMs: settings.HOLDFAST_SHUTDOWN_GRACE_SECONDS * 1000,
  };
}
