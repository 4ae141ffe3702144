import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { firstPlaces, nextPlaces, parsePathPattern, type PathPattern } from './path-pattern.ts';

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

/** Errors: request_invalid for a pattern that cannot be read. */
export function compileExcludes(texts: readonly string[]): ExcludePatterns {
  const patterns = texts.map(parsePathPattern);
  if (patterns.length === 0) return { excludes: () => false };
  return {
    excludes: (path) => {
      const names = path.split('/').filter((name) => name !== '');
      let isExcluded = false;
      for (const pattern of patterns) {
        if (isExcluded === pattern.isNegated && matchesAtOrAbove(pattern, names)) isExcluded = !pattern.isNegated;
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
  const ways = texts.map(parsePathPattern).filter(({ isNegated }) => !isNegated);
  return {
    includes: (path) => patterns.excludes(path),
    mayIncludeBelow: (path) => {
      const names = path.split('/').filter((name) => name !== '');
      return ways.some((pattern) => mayMatchBelow(pattern, names));
    },
  };
}

/** For schemas: whether compileExcludes takes the pattern. */
export function isExcludePattern(text: string): boolean {
  try {
    parsePathPattern(text);
    return true;
  } catch (error) {
    if (error instanceof HoldfastError) return false;
    throw error;
  }
}

/** Whether the pattern matches the path's first names, however many. */
function matchesAtOrAbove(pattern: PathPattern, names: readonly string[]): boolean {
  let places = firstPlaces(pattern);
  for (const name of names) {
    if (places.has(pattern.steps.length)) return true;
    places = nextPlaces(pattern, places, name);
  }
  return places.has(pattern.steps.length);
}

/** Whether the pattern can match further names behind the path's. */
function mayMatchBelow(pattern: PathPattern, names: readonly string[]): boolean {
  let places = firstPlaces(pattern);
  for (const name of names) places = nextPlaces(pattern, places, name);
  return [...places].some((place) => place < pattern.steps.length);
}
