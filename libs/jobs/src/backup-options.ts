import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';

/**
 * How the runs of a config do their work: `{ "compression": "max", "concurrency": 2, "uploadBytesPerSecond": 1000000,
 * "lowPriority": true }`. Every field may be left out, and a field that is not known is an error. What is left out is not
 * written down, so that a better default reaches the configs that are there.
 */

/** restic's words. */
const compressionModes = ['off', 'fastest', 'auto', 'better', 'max'] as const;
type CompressionMode = (typeof compressionModes)[number];

/** A pool of the engine has no more: each takes tens of megabytes. */
const maxConcurrency = 64;
/** A pack of 24 MiB, the largest piece that goes out at once, then takes 25 minutes: more is no backup any more. */
const minBytesPerSecond = 16 * 1024;
/** A terabyte: beyond any line. */
const maxBytesPerSecond = 1_000_000_000_000;

const bandwidthSchema = z.number().int().min(minBytesPerSecond).max(maxBytesPerSecond);

export const backupOptionsSchema = z.strictObject({
  compression: z
    .enum(compressionModes)
    .optional()
    .describe('zstd, in the words of restic; default auto, or off where compressionEnabled is false, which no other mode goes with'),
  concurrency: z
    .number()
    .int()
    .min(1)
    .max(maxConcurrency)
    .optional()
    .describe('Threads that a backup or a verification works with; default one a core of the worker'),
  uploadBytesPerSecond: bandwidthSchema
    .optional()
    .describe('Most bytes that a backup writes to its storage in a second, on average; default no limit'),
  downloadBytesPerSecond: bandwidthSchema
    .optional()
    .describe('Most bytes that a backup or a verification reads from its storage in a second, on average; default no limit'),
  lowPriority: z
    .boolean()
    .optional()
    .describe(
      'The threads of a backup or a verification yield the processor to others (nice 10; Linux only, else without effect); default false',
    ),
});

export type BackupOptions = z.infer<typeof backupOptionsSchema>;

/** Checks options that come from a row. Errors: request_invalid. */
export function parseBackupOptions(value: unknown): BackupOptions {
  const parsed = backupOptionsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HoldfastError('request_invalid', `backup options do not fit: ${z.prettifyError(parsed.error)}`, { cause: parsed.error });
}

/** Whether the two places that speak of compression contradict each other. */
export function isCompressionContradictory(compressionEnabled: boolean, { compression }: BackupOptions): boolean {
  return !compressionEnabled && compression !== undefined && compression !== 'off';
}

/** What both say together. */
export function compressionOf(compressionEnabled: boolean, { compression = 'auto' }: BackupOptions): CompressionMode {
  return compressionEnabled ? compression : 'off';
}
