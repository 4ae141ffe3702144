import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { backupOptionsSchema } from './backup-options.ts';

/**
 * What a copy job copies, and how: `{ "snapshots": { "newerThanDays": 30 }, "verify": true, "uploadBytesPerSecond": 1000000 }`. Every
 * field may be left out, and a field that is not known is an error.
 */

const maxIdLength = 64;
/** An entity has some dozens of configs. */
const maxConfigs = 200;
/** Whoever wants more of them wants all. */
const maxSnapshots = 1_000;
/** A century. */
const maxDays = 36_500;

/** All that are there, or those for which everything holds that is given here. */
export const copiedSnapshotsSchema = z.strictObject({
  newerThanDays: z.number().int().min(1).max(maxDays).optional().describe('Made in so many days before the job runs'),
  since: z.iso
    .datetime({ offset: true, error: 'must be a time such as 2026-01-31T12:00:00Z' })
    .optional()
    .describe('Made at or after this time'),
  backupConfigIds: z.array(z.string().min(1).max(maxIdLength)).min(1).max(maxConfigs).optional().describe('Made by one of these configs'),
});

export const copyOptionsSchema = z.strictObject({
  snapshots: copiedSnapshotsSchema.default({}).describe('Which are copied; all when nothing is said'),
  verify: z
    .boolean()
    .default(true)
    .describe('Whether everything that was written is read back, and every file and folder of the copies looked up'),
  uploadBytesPerSecond: backupOptionsSchema.shape.uploadBytesPerSecond.describe(
    'Most bytes written to the second place in a second, on average; default no limit',
  ),
  downloadBytesPerSecond: backupOptionsSchema.shape.downloadBytesPerSecond.describe(
    'Most bytes read from the first place in a second, on average; default no limit',
  ),
});

/** What one that is asked for by itself may say besides. */
export const copyJobOptionsSchema = copyOptionsSchema.extend({
  snapshots: copiedSnapshotsSchema
    .extend({
      ids: z
        .array(z.string().regex(/^[0-9a-f]{64}$/u, 'must be an id of 64 hexadecimal digits'))
        .min(1)
        .max(maxSnapshots)
        .optional()
        .describe('These and no others'),
    })
    .default({}),
});

export type CopyJobOptions = z.infer<typeof copyJobOptionsSchema>;

/** Checks options that come from a row. Errors: request_invalid. */
export function parseCopyOptions(value: unknown): CopyJobOptions {
  const parsed = copyJobOptionsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HoldfastError('request_invalid', `copy options do not fit: ${z.prettifyError(parsed.error)}`, { cause: parsed.error });
}
