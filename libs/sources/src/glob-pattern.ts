import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { matchesName, parseNamePattern, type NamePattern } from './name-pattern.ts';

/**
 * A glob: an absolute path of files whose names may hold `*`, `?`, `[a-z]` and `\` before a character meant as it is, and `**` for any number
 * of folders. Nothing here touches the disk.
 */
export interface Glob {
  /** The folder before its first pattern. */
  readonly base: string;
  readonly steps: readonly GlobStep[];
}

export type GlobStep = NamePattern | 'any-names';

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
  const steps = names.slice(fixedCount).map((name): GlobStep => (name === '**' ? 'any-names' : parseNamePattern(name, text)));
  if (steps.at(-1) === 'any-names') steps.push(parseNamePattern('*', text));
  return { base: `/${names.slice(0, fixedCount).join('/')}`, steps };
}

/** The places to which one more name leads. */
export function stepOver(steps: readonly GlobStep[], places: ReadonlySet<number>, name: string): Set<number> {
  const next = new Set<number>();
  for (const place of places) {
    const wanted = steps[place];
    if (wanted === 'any-names') next.add(place);
    else if (wanted !== undefined && matchesName(wanted, name)) next.add(place + 1);
  }
  return next;
}

/** With the places behind a `**` for which no name is used up. */
export function reach(steps: readonly GlobStep[], places: ReadonlySet<number>): Set<number> {
  const reached = new Set(places);
  for (const place of reached) if (steps[place] === 'any-names') reached.add(place + 1);
  return reached;
}
