import { z } from 'zod';
import { isGlob, parseGlob, type Glob } from '../glob-pattern.ts';
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
  .refine((text) => isGlob(plain(text)), 'must be a pattern of a path, such as /etc/nginx/*.conf');

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

/** The glob of a config. Errors: request_invalid for what the schema refuses. */
export function parseConfigurationGlob(text: string): Glob {
  return parseGlob(plain(text));
}

/** A `.` between slashes and a slash at the end say nothing. */
function plain(text: string): string {
  return `/${namesOf(text).join('/')}`;
}

const namesOf = (path: string): string[] => path.split('/').filter((name) => name !== '' && name !== '.');

function meetsOwnRows(pathOrGlob: string): boolean {
  const [first = ''] = namesOf(pathOrGlob);
  return `/${first}` === ownRowsPath || first === '' || /[*?[\\]/u.test(first);
}
