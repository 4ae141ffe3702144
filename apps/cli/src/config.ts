import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';

const graceMaxSeconds = 3600;
const portMax = 65_535;

const emptyAsMissing = (value: unknown) => (value === '' ? undefined : value);
const optionalText = z.preprocess(emptyAsMissing, z.string().optional());
const absoluteFolder = z.preprocess(emptyAsMissing, z.string().startsWith('/', 'must be an absolute path').optional());

/** The settings that the command itself reads; what the API and the workers read goes through to them untouched. */
export const cliSettingsSchema = z.object({
  DATABASE_URL: optionalText,
  HOLDFAST_MASTER_KEY: optionalText,
  HOLDFAST_JWT_SECRET: optionalText,
  HOLDFAST_STATE_DIR: absoluteFolder,
  HOLDFAST_API_HOST: z.preprocess(emptyAsMissing, z.string().default('127.0.0.1')),
  HOLDFAST_API_PORT: z.preprocess(emptyAsMissing, z.coerce.number().int().min(0).max(portMax).optional()),
  HOLDFAST_SOURCE_ROOTS: optionalText,
  HOLDFAST_STORAGE_ROOTS: optionalText,
  HOLDFAST_TARGET_ROOTS: optionalText,
  HOLDFAST_SCRATCH_DIR: absoluteFolder,
  HOLDFAST_SHUTDOWN_GRACE_SECONDS: z.preprocess(emptyAsMissing, z.coerce.number().int().min(1).max(graceMaxSeconds).default(30)),
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

/** Reads the settings. Throws `configuration_invalid` that names each wrong variable, never its value. */
export function readCliConfig(environment: Readonly<Record<string, string | undefined>>): CliConfig {
  const parsed = cliSettingsSchema.safeParse(environment);
  if (!parsed.success) {
    const reasons = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new HoldfastError('configuration_invalid', `settings are wrong: ${reasons.join('; ')}`);
  }
  const settings = parsed.data;
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
