import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseLsn } from './lsn.ts';
import {
  defaultWalSegmentSizeBytes,
  parseTimelineHistoryName,
  parseWalSegmentName,
  timelineHistoryName,
  walSegmentName,
  walSegmentStart,
} from './wal-segment.ts';

const sizes = fc.integer({ min: 20, max: 30 }).map((power) => 2 ** power);

test('names are the ones that pg_walfile_name gives', () => {
  expect(walSegmentName(1, parseLsn('0/1000000'), defaultWalSegmentSizeBytes)).toBe('000000010000000000000001');
  expect(walSegmentName(1, parseLsn('0/FFFFFFFF'), defaultWalSegmentSizeBytes)).toBe('0000000100000000000000FF');
  expect(walSegmentName(26, parseLsn('16/B374D848'), defaultWalSegmentSizeBytes)).toBe('0000001A00000016000000B3');
  expect(walSegmentName(1, parseLsn('1/40000000'), 2 ** 30)).toBe('000000010000000100000001');
});

test('a name says its timeline and start again, for every size', () => {
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 2 ** 32 - 1 }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (size, timeline, lsn) => {
      expect(parseWalSegmentName(walSegmentName(timeline, lsn, size), size)).toEqual({ timeline, startLsn: walSegmentStart(lsn, size) });
    }),
  );
});

test.each([
  '',
  '000000010000000000000100', // no such segment with 16 MiB
  '000000000000000000000001', // no timeline 0
  '00000001000000000000001',
  '00000001000000000000000g',
  '000000010000000000000001.partial',
  '00000002.history',
])('%j is no segment', (name) => {
  expect(parseWalSegmentName(name, defaultWalSegmentSizeBytes)).toBeNull();
});

test('history files', () => {
  expect(timelineHistoryName(26)).toBe('0000001A.history');
  expect(parseTimelineHistoryName('0000001A.history')).toBe(26);
  expect(parseTimelineHistoryName('000000010000000000000001')).toBeNull();
});
