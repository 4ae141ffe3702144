import { posix } from 'node:path';
import { z } from 'zod';
import { everyOptionsShape } from '../remote/remote-options.ts';

/** PATH_MAX of Linux, with its NUL. */
const maxPathLength = 4095;

export const localOptionsSchema = z.strictObject({
  type: z.literal('local'),
  /** An absolute folder inside the allowed storage roots, as the worker sees it. */
  path: z
    .string()
    .max(maxPathLength)
    // oxlint-disable-next-line no-control-regex -- NUL is the one byte that no path may hold
    .regex(/^\/[^\0]*$/, 'must be an absolute path'),
  ...everyOptionsShape,
});

export type LocalOptions = z.infer<typeof localOptionsSchema>;

/** `local:/backups/a` */
export function localLocation(options: LocalOptions): string {
  const path = posix.normalize(options.path);
  return `local:${path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path}`;
}
