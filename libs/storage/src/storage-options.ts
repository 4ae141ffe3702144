import { posix } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';

/**
 * Where a repository is put, as a config says it: `{ "type": "local", "path": "/backups/a" }`. Discriminated by `type`;
 * a field that is not known is an error. Nothing here touches the disk, so that the API can import it.
 */

/** PATH_MAX of Linux, with its NUL. */
const maxPathLength = 4095;

const localStorageOptionsSchema = z.strictObject({
  type: z.literal('local'),
  /** An absolute folder inside the allowed storage roots, as the worker sees it. */
  path: z
    .string()
    .max(maxPathLength)
    // oxlint-disable-next-line no-control-regex -- NUL is the one byte that no path may hold
    .regex(/^\/[^\0]*$/, 'must be an absolute path'),
});

export const storageOptionsSchema = z.discriminatedUnion('type', [localStorageOptionsSchema]);

export type StorageOptions = z.infer<typeof storageOptionsSchema>;

/**
 * Checks options that came from outside.
 * Errors: type_not_supported for a kind that is not built, request_invalid for anything else that does not fit.
 */
export function parseStorageOptions(value: unknown): StorageOptions {
  const type: unknown = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
  const built: readonly string[] = storageOptionsSchema.options.map((option) => option.shape.type.value);
  if (typeof type === 'string' && !built.includes(type)) {
    throw new HoldfastError('type_not_supported', `storage of type ${JSON.stringify(type)} is not built; there is: ${built.join(', ')}`);
  }
  const parsed = storageOptionsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HoldfastError('request_invalid', `storage options do not fit: ${z.prettifyError(parsed.error)}`, { cause: parsed.error });
}

/** Equal for two options that lead to the same place: `local:/backups/a`. Holds no secret. */
export function locationKey(options: StorageOptions): string {
  const path = posix.normalize(options.path);
  return `${options.type}:${path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path}`;
}
