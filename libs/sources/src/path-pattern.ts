import { posix } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { matchesName, parseNamePattern, type NamePattern } from './name-pattern.ts';

/**
 * A pattern of a path, by restic's rules: names that may hold `*`, `?`, `[a-z]`, `[^a-z]` and `\` before a character meant as it is. With a
 * leading slash it is held against the whole path, else against any run of names in it; `**` stands for any number of names, none among them.
 *
 * It is matched name by name. All places in the pattern that the names so far can have led to are kept at once, so that many `**` cost no
 * more than one, and a tree is gone through once.
 */
export interface PathPattern {
  /** `!` stood before it. */
  readonly isNegated: boolean;
  /** What each name has to match; `any-names` for `**`. A relative pattern begins with one. */
  readonly steps: readonly (NamePattern | 'any-names')[];
}

/** Errors: request_invalid for a pattern that cannot be read. */
export function parsePathPattern(text: string): PathPattern {
  const isNegated = text.startsWith('!');
  const path = posix.normalize(isNegated ? text.slice(1) : text);
  const names = path.split('/').filter((name) => name !== '');
  if (names.length === 0 || path === '.' || names[0] === '..') {
    throw new HoldfastError('request_invalid', `exclude pattern names nothing: ${JSON.stringify(text)}`);
  }
  const steps = names.map((name) => (name === '**' ? 'any-names' : parseNamePattern(name, text)));
  return { isNegated, steps: path.startsWith('/') ? steps : ['any-names', ...steps] };
}

/** The places before the first name of a path. A place is a number of a step; the number of steps is the pattern's end. */
export function firstPlaces({ steps }: Pick<PathPattern, 'steps'>): Set<number> {
  return reach(steps, new Set([0]));
}

/** The places to which one more name leads. The pattern matches when its end is among them. */
export function nextPlaces({ steps }: Pick<PathPattern, 'steps'>, places: ReadonlySet<number>, name: string): Set<number> {
  const next = new Set<number>();
  for (const place of places) {
    const wanted = steps[place];
    if (wanted === 'any-names') next.add(place);
    else if (wanted !== undefined && matchesName(wanted, name)) next.add(place + 1);
  }
  return reach(steps, next);
}

/** Adds the places that follow a `**` for which no name is used up. */
function reach(steps: PathPattern['steps'], places: Set<number>): Set<number> {
  for (const place of places) {
    if (steps[place] === 'any-names') places.add(place + 1);
  }
  return places;
}
