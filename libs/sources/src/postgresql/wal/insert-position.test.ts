import { expect, test } from 'vitest';
import { parseLsn } from '../lsn.ts';
import { endOfInserted } from './insert-position.ts';

const sizes = { pageBytes: 8192, segmentSizeBytes: 16 * 1024 * 1024 };

test.each([
  ['0/3000028', '0/3000000', 'the end of a segment'],
  ['0/3002018', '0/3002000', 'the end of a page'],
  ['0/3002020', '0/3002020', 'a record behind the header of a page'],
  ['0/3000018', '0/3000018', 'no place that a server gives'],
  ['0/3004028', '0/3004028', 'records of a page that begins no segment'],
  ['16/B374D848', '16/B374D848', 'the middle of a page'],
])('%s is %s: %s', (insert, end) => {
  expect(endOfInserted(parseLsn(insert), sizes)).toBe(parseLsn(end));
});
