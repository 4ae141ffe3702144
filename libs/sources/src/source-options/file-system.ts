import { z } from 'zod';
import { absolutePathSchema, excludesSchema, pathsSchema, patternsSchema } from './path-fields.ts';

/** Files and folders of the worker: `{ "type": "file_system", "paths": ["/srv/data"], "excludes": ["*.tmp"] }`. */

const maxExcludeFileCount = 16;
const maxFolderTagCount = 16;
/** NAME_MAX of Linux. */
const maxNameLength = 255;
/** A header is a line or two. */
const maxHeaderLength = 1024;

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

export const fileSystemSourceOptionsSchema = z.strictObject({
  type: z.literal('file_system'),
  paths: pathsSchema,
  excludes: excludesSchema.optional(),
  excludeFiles: z
    .array(absolutePathSchema)
    .max(maxExcludeFileCount)
    .optional()
    .describe(
      'Files at the worker, inside the allowed source roots, with such patterns one a line; `#` begins a comment. Read at each run',
    ),
  includes: patternsSchema
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

export type FileSystemSourceOptions = z.infer<typeof fileSystemSourceOptionsSchema>;
