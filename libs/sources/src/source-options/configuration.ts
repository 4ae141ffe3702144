import { z } from 'zod';
import { isExcludePattern } from '../exclude-patterns.ts';
import { absolutePathSchema, excludesSchema, pathsSchema } from './path-fields.ts';

/**
 * Files that say how something is set up, and Holdfast's own rows of the entity:
 * `{ "type": "configuration", "globs": ["/etc/nginx/*.conf"], "paths": ["/etc/hosts"], "ownRows": true }`.
 */

/** Where own rows lie in a snapshot; no file of the worker may be stored there. */
export const ownRowsPath = '/holdfast';

/** Each begins a walk of its own. */
const maxGlobCount = 64;

const globSchema = absolutePathSchema
  .refine((text) => !text.split('/').includes('..'), 'must not hold ..')
  .refine((text) => isExcludePattern(text) && globTop(text).names.length > 0, 'must be a pattern of a path, such as /etc/nginx/*.conf');

export const configurationSourceOptionsSchema = z
  .strictObject({
    type: z.literal('configuration'),
    paths: pathsSchema.optional(),
    globs: z
      .array(globSchema)
      .min(1)
      .max(maxGlobCount)
      .optional()
      .describe(
        'Absolute patterns of files, inside the allowed source roots: `*`, `?` and `[a-z]` stand for characters of one name, `**` for any ' +
          'number of names. Files and links that match are taken, folders are not; links are stored as links',
      ),
    excludes: excludesSchema.optional(),
    ownRows: z
      .boolean()
      .default(false)
      .describe("Also Holdfast's own rows of the entity: repositories, configs, copy configs, plans. Secrets stay sealed"),
  })
  .refine(({ paths, globs, ownRows }) => paths !== undefined || globs !== undefined || ownRows, {
    error: 'needs at least one of paths, globs and ownRows',
  })
  .refine(({ paths = [], globs = [], ownRows }) => !ownRows || ![...paths, ...globs].some(meetsOwnRows), {
    error: `names ${ownRowsPath} or what it lies in, where own rows are stored; choose deeper folders, or leave ownRows out`,
  });

export type ConfigurationSourceOptions = z.infer<typeof configurationSourceOptionsSchema>;

/** The folder above all that a pattern can match, and the names of the pattern that follow it. */
export function globTop(glob: string): { readonly folder: string; readonly names: readonly string[] } {
  const names = glob.split('/').filter((name) => name !== '' && name !== '.');
  const first = names.findIndex((name) => /[*?[\\]/u.test(name));
  const length = first === -1 ? names.length - 1 : first;
  return { folder: `/${names.slice(0, Math.max(0, length)).join('/')}`, names: names.slice(Math.max(0, length)) };
}

function meetsOwnRows(pathOrGlob: string): boolean {
  const [first = ''] = pathOrGlob.split('/').filter((name) => name !== '' && name !== '.');
  return `/${first}` === ownRowsPath || first === '' || /[*?[\\]/u.test(first);
}
