import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { isExcludePattern } from './exclude-patterns.ts';

/**
 * What a config backs up: `{ "type": "file_system", "paths": ["/srv/data"], "excludes": ["*.tmp"] }`. Discriminated by
 * `type`; a field that is not known is an error. Nothing here touches the disk, so that the API can import it.
 */

/** PATH_MAX of Linux, with its NUL. */
const maxPathLength = 4095;
/** More would make a config's row and its page unwieldy; a folder above them does the same. */
const maxPathCount = 64;
/** Every entry of the tree is held against every pattern. */
const maxExcludeCount = 256;

/** An absolute path of this machine. */
export const absolutePathSchema = z
  .string()
  .max(maxPathLength)
  // oxlint-disable-next-line no-control-regex -- NUL is the one byte that no path may hold
  .regex(/^\/[^\0]*$/, 'must be an absolute path');

const excludeSchema = z
  .string()
  .min(1)
  .max(maxPathLength)
  // oxlint-disable-next-line no-control-regex -- as above
  .regex(/^[^\0]+$/)
  .refine(isExcludePattern, 'must be an exclude pattern, such as `*.tmp` or `/srv/cache`');

const fileSystemSourceOptionsSchema = z.strictObject({
  type: z.literal('file_system'),
  paths: z.array(absolutePathSchema).min(1).max(maxPathCount),
  excludes: z.array(excludeSchema).max(maxExcludeCount).optional(),
});

export const sourceOptionsSchema = z.discriminatedUnion('type', [fileSystemSourceOptionsSchema]);

export type SourceOptions = z.infer<typeof sourceOptionsSchema>;

/**
 * Checks options that came from outside.
 * Errors: type_not_supported for a kind that is not built, request_invalid for anything else that does not fit.
 */
export function parseSourceOptions(value: unknown): SourceOptions {
  const type: unknown = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
  const built: readonly string[] = sourceOptionsSchema.options.map((option) => option.shape.type.value);
  if (typeof type === 'string' && !built.includes(type)) {
    throw new HoldfastError('type_not_supported', `a source of type ${JSON.stringify(type)} is not built; there is: ${built.join(', ')}`);
  }
  const parsed = sourceOptionsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HoldfastError('request_invalid', `source options do not fit: ${z.prettifyError(parsed.error)}`, { cause: parsed.error });
}
