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
const maxPatternCount = 256;
const maxExcludeFileCount = 16;
const maxFolderTagCount = 16;
/** NAME_MAX of Linux. */
const maxNameLength = 255;
/** A header is a line or two. */
const maxHeaderLength = 1024;

/** An absolute path of this machine. */
export const absolutePathSchema = z
  .string()
  .max(maxPathLength)
  // oxlint-disable-next-line no-control-regex -- NUL is the one byte that no path may hold
  .regex(/^\/[^\0]*$/, 'must be an absolute path');

const patternSchema = z
  .string()
  .min(1)
  .max(maxPathLength)
  // oxlint-disable-next-line no-control-regex -- as above
  .regex(/^[^\0]+$/)
  .refine(isExcludePattern, 'must be a pattern, such as `*.tmp` or `/srv/cache`');

/** As restic's `--exclude-if-present name:header`. */
const folderTagSchema = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(maxNameLength)
    // oxlint-disable-next-line no-control-regex -- NUL and the slash are the two bytes that no name may hold
    .regex(/^(?!\.{1,2}$)[^/\0]+$/, 'must be the name of a file'),
  header: z.string().min(1).max(maxHeaderLength).optional(),
});

const fileSystemSourceOptionsSchema = z.strictObject({
  type: z.literal('file_system'),
  paths: z
    .array(absolutePathSchema)
    .min(1)
    .max(maxPathCount)
    .describe('Absolute files and folders, inside the allowed source roots; a symlink among them stands for what it leads to'),
  excludes: z
    .array(patternSchema)
    .max(maxPatternCount)
    .optional()
    .describe(
      'Patterns of what is left out, with everything below it: `*.tmp`, `node_modules`, `/srv/data/cache`. `*`, `?` and `[a-z]` stand for ' +
        'characters of one name, `**` for any number of names; a leading slash holds a pattern against the whole path, a leading `!` takes ' +
        'back what an earlier one left out',
    ),
  excludeFiles: z
    .array(absolutePathSchema)
    .max(maxExcludeFileCount)
    .optional()
    .describe(
      'Files at the worker, inside the allowed source roots, with such patterns one a line; `#` begins a comment. Read at each run',
    ),
  includes: z
    .array(patternSchema)
    .max(maxPatternCount)
    .optional()
    .describe(
      'When given, only what matches one of these patterns is taken, with everything below it, and the folders on the way, empty ones ' +
        'too. What is excluded stays so',
    ),
  excludeIfPresent: z
    .array(folderTagSchema)
    .max(maxFolderTagCount)
    .optional()
    .describe('A folder that holds a file of this name (that begins with `header`, if given) is stored with nothing but that file in it'),
  excludeCaches: z.boolean().optional().describe('The same for folders with a CACHEDIR.TAG file that has the signature of the standard'),
  oneFileSystem: z
    .boolean()
    .optional()
    .describe('Stays on the file system of each path: a folder on which another is mounted is stored empty'),
  excludeLargerThanBytes: z.int().nonnegative().optional().describe('Leaves out files with more bytes than this'),
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
