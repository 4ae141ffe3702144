import { z } from 'zod';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { browsedTypes } from '@holdfast/jobs/browse/browse-answers';
import { readName, readPath, writePath } from '@holdfast/jobs/browse/path-text';
import { fieldError } from '../problem.ts';
import { idSchema, queryBooleanSchema } from '../schemas/primitives.ts';

/** Query parameters of requests that look into backups. Paths come out as path-text.ts writes them, so that equal ones are equal text. */

/** An entry is some 500 bytes of JSON: a page is half a megabyte. */
const entriesMaxCount = 1_000;
const entriesDefaultCount = 100;
/** A cursor holds a name, or a path. */
const cursorMaxChars = 64 * 1024;
/** A name has at most 255 bytes, a pattern may name folders too. */
const patternMaxBytes = 4096;

export const snapshotPathSchema = z.string().transform(readWith(readPath));

const patternSchema = z.string().min(1).max(patternMaxBytes).transform(readWith(readName));

export const browsePageShape = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(entriesMaxCount)
    .default(entriesDefaultCount)
    .describe(`Entries a page, at most ${entriesMaxCount}`),
  cursor: z
    .string()
    .regex(/^[\w-]*$/u, 'is not one that a page gave; leave it out to begin anew')
    .max(cursorMaxChars)
    .optional()
    .describe('`nextCursor` of the page before'),
};

const patternShape = {
  name: patternSchema.optional().describe('Only entries of exactly this name, anywhere below the path'),
  glob: patternSchema
    .optional()
    .describe('Only entries that this pattern fits: `*`, `?`, `[a-z]`, and `**` for any folders; without a slash it is held against names'),
};

export const searchShape = {
  ...patternShape,
  type: z.enum(browsedTypes).optional().describe('With name or glob: only entries of this type'),
  ignoreCase: queryBooleanSchema.optional().describe('With name or glob: small and capital letters are the same'),
};

export const fromRepositoryShape = {
  fromRepositoryId: idSchema.optional().describe('The repository whose copy of the backup is read, instead of its own'),
};

export interface SearchParameters {
  readonly name?: string | undefined;
  readonly glob?: string | undefined;
  readonly type?: string | undefined;
  readonly ignoreCase?: boolean | undefined;
}

/** The search as a worker is asked it; undefined when nothing is searched for. Code: request_invalid, for parameters that do not go together. */
export function searchQuery({ name, glob, type, ignoreCase }: SearchParameters): Record<string, string | undefined> | undefined {
  if (name !== undefined && glob !== undefined) throw refusal('glob', 'cannot be given together with name; leave one of them out');
  if (name !== undefined && name.includes('/')) throw refusal('name', 'must not hold a slash; name a folder by path, or send a glob');
  const isSearch = name !== undefined || glob !== undefined;
  if (isSearch) return { name, glob, type, ignoreCase: ignoreCase === true ? 'true' : undefined };
  const given = Object.entries({ type, ignoreCase }).find(([, value]) => value !== undefined);
  if (given !== undefined) throw refusal(given[0], 'is for a search; send a name or a glob with it');
  return undefined;
}

function refusal(field: string, message: string): Error {
  return fieldError('request_invalid', [{ field, message }]);
}

/** What reads the text, as a zod transform that writes it in the one way that there is. */
function readWith(read: (text: string) => string): (text: string, context: z.RefinementCtx) => string {
  return (text, context) => {
    try {
      return writePath(read(text));
    } catch (error) {
      if (!isHoldfastError(error, 'request_invalid')) throw error;
      context.addIssue({ code: 'custom', message: error.message });
      return z.NEVER;
    }
  };
}
