import { z } from 'zod';
import { isGlob } from '../glob-pattern.ts';
import { isWindowEnd } from '../logs/log-window.ts';

/**
 * Log files of the worker, of which a run reads only what is new: `{ "type": "logs", "globs": ["/var/log/app/*.log*"], "since": "P30D",
 * "removeAfterDays": 14 }`.
 */

/** PATH_MAX of Linux, with its NUL. */
const maxGlobLength = 4095;
/** Every folder is gone through for each. */
const maxGlobCount = 64;
/** Ten years. */
const maxRemoveAfterDays = 3660;
const maxWindowLength = 40;

const windowSchema = z
  .string()
  .max(maxWindowLength)
  .refine(isWindowEnd, 'must be a time with its zone, such as 2026-05-01T00:00:00Z, or how long ago: P7D, P2W or PT12H');

export const logsSourceOptionsSchema = z.strictObject({
  type: z.literal('logs'),
  globs: z
    .array(
      z.string().max(maxGlobLength).refine(isGlob, 'must be an absolute path of files, such as /var/log/app/*.log*, without `.` and `..`'),
    )
    .min(1)
    .max(maxGlobCount)
    .describe(
      'Regular files inside the allowed source roots, rotated and compressed ones too: `*`, `?` and `[a-z]` stand for characters of one ' +
        'name (a leading dot is one of them), `**` for any number of folders. No symlink is followed behind the first of those',
    ),
  since: windowSchema.optional().describe('Only files that were written to at or after this: a time, or how long ago as `P7D`'),
  until: windowSchema.optional().describe('Only files that were written to before this: a time, or how long ago as `PT1H`'),
  removeAfterDays: z
    .int()
    .min(1)
    .max(maxRemoveAfterDays)
    .optional()
    .describe(
      'Removes files that nobody has written to for so many days, each after its bytes have been read back from the storage and found the ' +
        'same. Needs HOLDFAST_LOGS_REMOVAL at the worker. Left out: nothing is removed',
    ),
});

export type LogsSourceOptions = z.infer<typeof logsSourceOptionsSchema>;
