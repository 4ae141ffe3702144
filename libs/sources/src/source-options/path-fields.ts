import { z } from 'zod';
import { isExcludePattern } from '../exclude-patterns.ts';

/** Paths of the worker and patterns over them, as the options of several sources have them. */

/** PATH_MAX of Linux, with its NUL. */
const maxPathLength = 4095;
/** More would make a config's row and its page unwieldy; a folder above them does the same. */
const maxPathCount = 64;
/** Every entry of the tree is held against every pattern. */
const maxPatternCount = 256;

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

export const pathsSchema = z
  .array(absolutePathSchema)
  .min(1)
  .max(maxPathCount)
  .describe('Absolute files and folders, inside the allowed source roots; a symlink among them stands for what it leads to');

export const patternsSchema = z.array(patternSchema).max(maxPatternCount);

export const excludesSchema = patternsSchema.describe(
  'Patterns of what is left out, with everything below it: `*.tmp`, `node_modules`, `/srv/data/cache`. `*`, `?` and `[a-z]` stand for ' +
    'characters of one name, `**` for any number of names; a leading slash holds a pattern against the whole path, a leading `!` takes ' +
    'back what an earlier one left out',
);
