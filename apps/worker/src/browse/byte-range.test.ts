import { expect, test } from 'vitest';
import { byteRangeOf } from './byte-range.ts';

test.each([
  ['bytes=0-0', 10, 0, 1],
  ['bytes=0-9', 10, 0, 10],
  ['bytes=2-4', 10, 2, 3],
  ['bytes=2-', 10, 2, 8],
  ['bytes=9-', 10, 9, 1],
  ['bytes=-3', 10, 7, 3],
  ['bytes=-30', 10, 0, 10],
  ['bytes=5-999999999999999', 10, 5, 5],
  ['Bytes = 1-2', 10, 1, 2],
])('%s of %i bytes', (header, sizeBytes, offsetBytes, lengthBytes) => {
  expect(byteRangeOf(header, sizeBytes)).toEqual({ offsetBytes, lengthBytes });
});

test.each([
  null,
  '',
  'bytes=',
  'bytes=-',
  'bytes=a-b',
  'bytes=4-2',
  'bytes=0-1,3-4',
  'lines=0-1',
  'bytes=1.5-2',
  'bytes=0-1234567890123456',
])('%j asks for the whole file', (header) => {
  expect(byteRangeOf(header, 10)).toBeNull();
});

test.each([
  ['bytes=10-', 10],
  ['bytes=10-20', 10],
  ['bytes=-0', 10],
  ['bytes=0-', 0],
  ['bytes=-1', 0],
])('%s of %i bytes lies outside, and the size is told', (header, sizeBytes) => {
  expect(() => byteRangeOf(header, sizeBytes)).toThrow(expect.objectContaining({ code: 'range_not_satisfiable', context: { sizeBytes } }));
});
