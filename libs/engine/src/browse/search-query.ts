import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { nodeTypes, type NodeType } from '@holdfast/restic-format/node';
import { firstPlaces, nextPlaces, parsePathPattern, type PathPattern } from '@holdfast/sources/path-pattern';
import { namesOfPath } from './browse-path.ts';
import { assertPageLimit, type PageRequest } from './folder-page.ts';
import type { NameTable } from './name-table.ts';

export interface SearchQuery extends PageRequest {
  /**
   * A name, or a pattern by the rules of excludes: `*`, `?`, `[a-z]`, `**`; `report.pdf` and `*.pdf` are held against names anywhere,
   * `2024/*.pdf` against the end of a path, `/data/**` against the whole path. Up to maxPatternLength characters.
   */
  readonly pattern: string;
  /** A folder: only what is below it is searched. Default: everything. */
  readonly below?: string;
  /** Default: every type. */
  readonly types?: readonly NodeType[];
  /** Small and capital letters are the same. Default: they are not. */
  readonly ignoresCase?: boolean;
}

/** PATH_MAX: a pattern of a path is not longer than a path. */
export const maxPatternLength = 4096;

/** A query that was read. */
export interface ParsedQuery {
  readonly below: readonly string[];
  /** Bits by the numbers of nodeTypes. */
  readonly types: number;
  readonly limit: number;
  readonly cursor: SearchCursor | null;
  readonly states: PatternStates;
}

/** Where the page before ended. */
export interface SearchCursor {
  readonly names: readonly string[];
  /** Nothing below it is to come either: written as a slash at the end. */
  readonly isWhole: boolean;
}

/** Errors: request_invalid, which names the field. */
export function parseQuery({ pattern, below = '/', types = nodeTypes, ignoresCase = false, limit, after }: SearchQuery): ParsedQuery {
  assertPageLimit(limit);
  return {
    below: namesOfPath(below, 'below'),
    types: types.reduce((bits, type) => bits | (1 << nodeTypes.indexOf(type)), 0),
    limit,
    cursor: after === undefined ? null : { names: namesOfPath(after, 'after'), isWhole: after.endsWith('/') },
    states: new PatternStates(parsePattern(pattern, ignoresCase), ignoresCase),
  };
}

function parsePattern(text: string, ignoresCase: boolean): PathPattern {
  if (text.length > maxPatternLength) throw invalid(`is longer than ${maxPatternLength} characters`);
  if (text.startsWith('!')) throw invalid('begins with an exclamation mark, which only excludes have; write \\! for one in a name');
  try {
    return parsePathPattern(ignoresCase ? text.toLowerCase() : text);
  } catch (error) {
    if (isHoldfastError(error, 'request_invalid')) throw invalid(`cannot be read: ${JSON.stringify(text)}`);
    throw error;
  }
}

function invalid(reason: string): HoldfastError {
  return new HoldfastError('request_invalid', `pattern ${reason}`, {
    hint: 'give a name or a pattern, such as report.pdf, *.pdf or /data/**',
    context: { field: 'pattern' },
  });
}

/** How far names of a path have led into the pattern. */
export interface PatternState {
  readonly places: ReadonlySet<number>;
  /** The path that led here is one that is looked for. */
  readonly isMatch: boolean;
  /** Something below it can be. */
  readonly goesOn: boolean;
  /** By the number of the name that leads on, in `table`. */
  table: NameTable | null;
  next: (PatternState | undefined)[];
}

/**
 * The states of a pattern, made as they are met: each name is held against the pattern once for each state, however many trees it is in.
 * There are few of them: 2 for a name, and no more for any pattern than the paths have led to.
 */
export class PatternStates {
  readonly first: PatternState;
  readonly #pattern: PathPattern;
  readonly #ignoresCase: boolean;
  readonly #byPlaces = new Map<string, PatternState>();

  constructor(pattern: PathPattern, ignoresCase: boolean) {
    this.#pattern = pattern;
    this.#ignoresCase = ignoresCase;
    this.first = this.#stateOf(firstPlaces(pattern));
  }

  /** `number` is the name's in `table`. */
  next(state: PatternState, table: NameTable, number: number): PatternState {
    if (state.table !== table) {
      state.table = table;
      state.next = [];
    }
    return (state.next[number] ??= this.nextOfName(state, table.nameOf(number)));
  }

  nextOfName(state: PatternState, name: string): PatternState {
    return this.#stateOf(nextPlaces(this.#pattern, state.places, this.#ignoresCase ? name.toLowerCase() : name));
  }

  #stateOf(places: ReadonlySet<number>): PatternState {
    const key = [...places].toSorted((a, b) => a - b).join();
    const known = this.#byPlaces.get(key);
    if (known !== undefined) return known;
    const end = this.#pattern.steps.length;
    const goesOn = [...places].some((place) => place < end);
    const state = { places, isMatch: places.has(end), goesOn, table: null, next: [] };
    this.#byPlaces.set(key, state);
    return state;
  }
}
