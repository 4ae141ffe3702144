import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { readName, readPath } from '@holdfast/jobs/browse/path-text';
import type { SearchQuery } from '@holdfast/engine/browse/search-query';
import { browsedTypes } from '@holdfast/jobs/browse/browse-answers';

/** Reads what the API asks. It has checked all of it; what does not fit here is a mistake of ours, or of another version. */

/** Code: request_invalid, which names the parameter. */
export function given(query: URLSearchParams, field: string): string {
  const value = query.get(field);
  if (value !== null && value !== '') return value;
  throw invalid(field, 'is missing');
}

export function givenPath(query: URLSearchParams, field = 'path'): string {
  return readPath(query.get(field) ?? '/');
}

export function givenPage(query: URLSearchParams): { limit: number; after?: string } {
  const cursor = query.get('cursor');
  return { limit: Number(given(query, 'limit')), ...(cursor === null ? {} : { after: readCursor(cursor) }) };
}

/** A name is a pattern in which nothing stands for anything else. */
export function givenSearch(query: URLSearchParams): SearchQuery {
  const name = query.get('name');
  const pattern = name === null ? readName(given(query, 'glob')) : readName(name).replaceAll(/[\\*?[\]!]/gu, String.raw`\$&`);
  const type = browsedTypes.find((each) => each === query.get('type'));
  return {
    ...givenPage(query),
    pattern,
    below: givenPath(query),
    ...(type === undefined ? {} : { types: [type] }),
    ignoresCase: query.get('ignoreCase') === 'true',
  };
}

/** Where the next page begins, which may hold any name: UTF-16, in base64url. */
export function writeCursor(next: string | null): string | null {
  return next === null ? null : Buffer.from(next, 'utf16le').toString('base64url');
}

function readCursor(cursor: string): string {
  const bytes = Buffer.from(cursor, 'base64url');
  if (bytes.length > 0 && bytes.length % 2 === 0) return bytes.toString('utf16le');
  throw invalid('cursor', 'is not one that a page gave; leave it out to begin anew');
}

function invalid(field: string, message: string): HoldfastError {
  return new HoldfastError('request_invalid', message, { context: { field } });
}
