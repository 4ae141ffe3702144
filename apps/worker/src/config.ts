import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { assertSchedule } from '@holdfast/policy/schedule';
import { parseRoots } from '@holdfast/sources/allowed-roots';
import { z } from 'zod';

/** Settings of the worker, from environment variables. An empty one counts as not given. */
export interface WorkerConfig {
  readonly databaseUrl: string;
  readonly redisUrl: string | undefined;
  /** As in the variable: base64 of 32 bytes. */
  readonly masterKey: string;
  readonly sourceRoots: readonly string[];
  readonly storageRoots: readonly string[];
  readonly targetRoots: readonly string[];
  /** Restore tests are made here and removed again. */
  readonly scratchDir: string;
  /** Runs at a time of each queue. */
  readonly concurrency: number;
  readonly shutdownGraceMs: number;
  /** Cron expression, UTC. */
  readonly cleanupSchedule: string;
  readonly logLevel: LogLevel;
  readonly logPretty: boolean;
}

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
type LogLevel = (typeof logLevels)[number];

/** A worker is one process with a bounded memory; more work at a time is what more workers are for. */
const maxConcurrency = 32;
/** Supervisors kill what has not ended within minutes; a run that is cut off goes on at another worker. */
const maxGraceSeconds = 3600;

const rootsSchema = z
  .string()
  .default('')
  .transform((text, context) => {
    try {
      return parseRoots(text);
    } catch {
      context.addIssue({ code: 'custom', message: 'must be absolute folders with `:` between them' });
      return z.NEVER;
    }
  });

export const workerEnvironmentSchema = z.object({
  DATABASE_URL: z.string().regex(/^postgres(ql)?:\/\//u, 'must begin with postgresql://'),
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\//u, 'must begin with redis:// or rediss://')
    .optional(),
  HOLDFAST_MASTER_KEY: z
    .string()
    .refine((text) => Buffer.from(text, 'base64').byteLength === 32, 'must be 32 bytes as base64, such as `openssl rand -base64 32` gives'),
  HOLDFAST_SOURCE_ROOTS: rootsSchema,
  HOLDFAST_STORAGE_ROOTS: rootsSchema,
  HOLDFAST_TARGET_ROOTS: rootsSchema,
  HOLDFAST_SCRATCH_DIR: z.string().startsWith('/', 'must be an absolute folder').optional(),
  HOLDFAST_WORKER_CONCURRENCY: z.coerce.number().int().min(1).max(maxConcurrency).default(2),
  HOLDFAST_SHUTDOWN_GRACE_SECONDS: z.coerce.number().int().min(0).max(maxGraceSeconds).default(30),
  HOLDFAST_CLEANUP_SCHEDULE: z.string().default('0 3 * * *').refine(isSchedule, 'must be a cron expression of five or six fields'),
  LOG_LEVEL: z.enum(logLevels).default('info'),
  HOLDFAST_LOG_PRETTY: z.stringbool().default(false),
});

/** Throws configuration_invalid, which names every variable that does not fit but repeats no value. */
export function readWorkerConfig(environment: Readonly<Record<string, string | undefined>>): WorkerConfig {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''));
  const parsed = workerEnvironmentSchema.safeParse(given);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new HoldfastError('configuration_invalid', `settings do not fit: ${problems.join('; ')}`);
  }
  const settings = parsed.data;
  return {
    databaseUrl: settings.DATABASE_URL,
    redisUrl: settings.REDIS_URL,
    masterKey: settings.HOLDFAST_MASTER_KEY,
    sourceRoots: settings.HOLDFAST_SOURCE_ROOTS,
    storageRoots: settings.HOLDFAST_STORAGE_ROOTS,
    targetRoots: settings.HOLDFAST_TARGET_ROOTS,
    scratchDir: settings.HOLDFAST_SCRATCH_DIR ?? join(tmpdir(), 'holdfast-scratch'),
    concurrency: settings.HOLDFAST_WORKER_CONCURRENCY,
    shutdownGraceMs: settings.HOLDFAST_SHUTDOWN_GRACE_SECONDS * 1000,
    cleanupSchedule: settings.HOLDFAST_CLEANUP_SCHEDULE,
    logLevel: settings.LOG_LEVEL,
    logPretty: settings.HOLDFAST_LOG_PRETTY,
  };
}

function isSchedule(pattern: string): boolean {
  try {
    assertSchedule({ pattern, timeZone: 'UTC' });
    return true;
  } catch {
    return false;
  }
}
