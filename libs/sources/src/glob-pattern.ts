import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { parseNamePattern } from './name-pattern.ts';
import type { PathPattern } from './path-pattern.ts';

/**
 * A glob: an absolute path of files whose names may hold `*`, `?`, `[a-z]` and `\` before a character meant as it is, and `**` for any number
 * of folders. Nothing here touches the disk.
 */
export interface Glob {
  /** The folder before its first pattern. */
  readonly base: string;
  /** What the names below it have to match, as those of a path pattern. */
  readonly steps: PathPattern['steps'];
}

/** For schemas: whether the glob can be read. */
export function isGlob(text: string): boolean {
  try {
    parseGlob(text);
    return true;
  } catch (error) {
    if (isHoldfastError(error, 'request_invalid')) return false;
    throw error;
  }
}

/** The folder at which a glob begins, as it is written: what can be held against roots. Errors: request_invalid. */
export function baseOfGlob(text: string): string {
  return parseGlob(text).base;
}

/** Errors: request_invalid. */
export function parseGlob(text: string): Glob {
  const names = text.split('/').filter((name) => name !== '');
  const isPath = text.startsWith('/') && !text.endsWith('/') && !text.includes('\0');
  if (!isPath || names.length === 0 || names.some((name) => name === '.' || name === '..')) {
    throw new HoldfastError('request_invalid', `is no absolute path of files: ${JSON.stringify(text)}`);
  }
  let fixedCount = names.findIndex((name) => /[*?[\\]/u.test(name));
  // The last name is a file's, and a file's own name is never followed.
  if (fixedCount === -1) fixedCount = names.length - 1;
  const steps = names.slice(fixedCount).map((name) => (name === '**' ? 'any-names' : parseNamePattern(name, text)));
  if (steps.at(-1) === 'any-names') steps.push(parseNamePattern('*', text));
  return { base: `/${names.slice(0, fixedCount).join('/')}`, steps };
}
