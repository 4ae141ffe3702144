import { posix } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { matchesName, parseNamePattern, type NamePattern } from './name-pattern.ts';

/**
 * Which paths a backup leaves out, by restic's rules:
 * - a pattern is a path whose names may hold `*`, `?`, `[a-z]`, `[^a-z]` and `\` before a character meant as it is;
 * - with a leading slash it is held against the whole path, else against any run of names in it: `node_modules`, `*.tmp`,
 *   `cache/*.db`;
 * - `**` stands for any number of names, none among them;
 * - what matches is left out with everything below it;
 * - `!pattern` takes back what an earlier pattern left out, but not what lies below a folder that is left out itself.
 */
export interface ExcludePatterns {
  /** Whether an absolute path is left out, by itself or by a folder above it. */
  excludes(path: string): boolean;
}

interface Pattern {
  readonly isNegated: boolean;
  /** What each name has to match; `any-names` for `**`. A relative pattern begins with one. */
  readonly steps: readonly (NamePattern | 'any-names')[];
}

/** Errors: request_invalid for a pattern that cannot be read. */
export function compileExcludes(texts: readonly string[]): ExcludePatterns {
  const patterns = texts.map(parsePattern);
  if (patterns.length === 0) return { excludes: () => false };
  return {
    excludes: (path) => {
      const names = path.split('/').filter((name) => name !== '');
      let isExcluded = false;
      for (const { isNegated, steps } of patterns) {
        if (isExcluded === isNegated && matchesAtOrAbove(steps, names)) isExcluded = !isNegated;
      }
      return isExcluded;
    },
  };
}

/** Which paths a backup takes when it does not take all, by the same patterns. */
export interface IncludePatterns {
  /** Whether an absolute path is included, by itself or by a folder above it. */
  includes(path: string): boolean;
  /** Whether something below the path may be, so that the folder has to be gone through. */
  mayIncludeBelow(path: string): boolean;
}

/** Errors: request_invalid for a pattern that cannot be read. */
export function compileIncludes(texts: readonly string[]): IncludePatterns {
  const patterns = compileExcludes(texts);
  const ways = texts.map(parsePattern).filter(({ isNegated }) => !isNegated);
  return {
    includes: (path) => patterns.excludes(path),
    mayIncludeBelow: (path) => {
      const names = path.split('/').filter((name) => name !== '');
      return ways.some(({ steps }) => mayMatchBelow(steps, names));
    },
  };
}

/** For schemas: whether compileExcludes takes the pattern. */
export function isExcludePattern(text: string): boolean {
  try {
    parsePattern(text);
    return true;
  } catch (error) {
    if (error instanceof HoldfastError) return false;
    throw error;
  }
}

function parsePattern(text: string): Pattern {
  const isNegated = text.startsWith('!');
  const path = posix.normalize(isNegated ? text.slice(1) : text);
  const names = path.split('/').filter((name) => name !== '');
  if (names.length === 0 || path === '.' || names[0] === '..') {
    throw new HoldfastError('request_invalid', `exclude pattern names nothing: ${JSON.stringify(text)}`);
  }
  const steps = names.map((name) => (name === '**' ? 'any-names' : parseNamePattern(name, text)));
  return { isNegated, steps: path.startsWith('/') ? steps : ['any-names', ...steps] };
}

/**
 * Whether the steps match the path's first names, however many. All places in the pattern that the names so far can have
 * led to are kept at once, so that many `**` cost no more than one.
 */
function matchesAtOrAbove(steps: Pattern['steps'], names: readonly string[]): boolean {
  let places = reach(steps, new Set([0]));
  for (const name of names) {
    if (places.has(steps.length)) return true;
    places = reach(steps, step(steps, places, name));
  }
  return places.has(steps.length);
}

/** The places to which one more name leads. */
function step(steps: Pattern['steps'], places: ReadonlySet<number>, name: string): Set<number> {
  const next = new Set<number>();
  for (const place of places) {
    const wanted = steps[place];
    if (wanted === 'any-names') next.add(place);
    else if (wanted !== undefined && matchesName(wanted, name)) next.add(place + 1);
  }
  return next;
}

/** Whether the steps can match further names behind the path's. */
function mayMatchBelow(steps: Pattern['steps'], names: readonly string[]): boolean {
  let places = reach(steps, new Set([0]));
  for (const name of names) places = reach(steps, step(steps, places, name));
  return [...places].some((place) => place < steps.length);
}

/** Adds the places that follow a `**` for which no name is used up. */
function reach(steps: Pattern['steps'], places: Set<number>): Set<number> {
  for (const place of places) {
    if (steps[place] === 'any-names') places.add(place + 1);
  }
  return places;
}
