import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { decodeTimestamp, encodeTimestamp } from './timestamp.ts';

describe('timestamps', () => {
  test.each([
    ['1970-01-01T00:00:00Z', 0n, 0],
    ['2014-12-22T14:47:59.912418701+01:00', 1_419_256_079_912_418_701n, 60],
    ['2026-01-02T03:04:05.1Z', 1_767_323_045_100_000_000n, 0],
    ['1969-12-31T23:59:59.999999999Z', -1n, 0],
    ['1969-12-31T20:29:59.5-03:30', -500_000_000n, -210],
    ['0000-01-01T00:00:00Z', -62_167_219_200_000_000_000n, 0],
    ['9999-12-31T23:59:59.999999999Z', 253_402_300_799_999_999_999n, 0],
    ['2024-02-29T12:00:00.000000001+14:00', 1_709_157_600_000_000_001n, 840],
  ])('%s', (text, ns, zoneMinutes) => {
    expect(encodeTimestamp(ns, zoneMinutes)).toBe(text);
    expect(decodeTimestamp(text)).toEqual({ ns, zoneMinutes });
  });

  test('every time of the years 0 to 9999 comes back', () => {
    const ns = fc.bigInt({ min: -62_167_000_000_000_000_000n, max: 253_402_000_000_000_000_000n });
    fc.assert(
      fc.property(ns, fc.integer({ min: -1000, max: 1000 }), (time, zoneMinutes) => {
        expect(decodeTimestamp(encodeTimestamp(time, zoneMinutes))).toEqual({ ns: time, zoneMinutes });
      }),
    );
  });

  test('times that RFC 3339 cannot write are moved to the nearest', () => {
    expect(encodeTimestamp(10n ** 30n)).toBe('9999-12-31T23:59:59.999999999Z');
    expect(encodeTimestamp(-(10n ** 30n))).toBe('0000-01-01T00:00:00Z');
  });

  test('digits below a nanosecond are cut off, and UTC may be written as a zone', () => {
    expect(decodeTimestamp('1970-01-01T00:00:00.0000000019Z')?.ns).toBe(1n);
    expect(decodeTimestamp('1970-01-01T00:00:00-00:00')).toEqual({ ns: 0n, zoneMinutes: 0 });
  });

  test.each(['', '1970-01-01', '1970-01-01T00:00:00', '2023-02-29T00:00:00Z', '1970-13-01T00:00:00Z', '1970-01-01T24:00:00Z'])(
    '%s is none',
    (text) => expect(decodeTimestamp(text)).toBeNull(),
  );
  test.each([
    '1970-01-01T00:00:00.Z',
    '1970-01-01T00:00:00+24:00',
    '01970-01-01T00:00:00Z',
    '1970-01-01t00:00:00z',
    '1970-01-01T00:00:60Z',
  ])('%s is none', (text) => expect(decodeTimestamp(text)).toBeNull());
});
