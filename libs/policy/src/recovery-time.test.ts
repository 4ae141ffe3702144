import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatRecoveryTime, parseRecoveryTime } from './recovery-time.ts';

describe('times of recovery', () => {
  test.each([
    ['2026-05-01T03:00:00Z', '2026-05-01T03:00:00.000000Z'],
    ['2026-05-01 03:00:00.123456+02', '2026-05-01T01:00:00.123456Z'],
    ['2026-05-01T03:00:00.1-0530', '2026-05-01T08:30:00.100000Z'],
    ['2026-05-01t03:00+02:00', '2026-05-01T01:00:00.000000Z'],
    ['1969-12-31T23:59:59.999999Z', '1969-12-31T23:59:59.999999Z'],
  ])('%s is read', (text, expected) => expect(formatRecoveryTime(parseRecoveryTime(text))).toBe(expected));

  test.each([
    '2026-05-01T03:00:00',
    '2026-04-31T03:00:00Z',
    '2026-05-01',
    'now',
    '2026-05-01T25:00:00Z',
    '2026-05-01T03:00:00.1234567Z',
    '',
  ])('%s is refused', (text) => expect(() => parseRecoveryTime(text)).toThrow(expect.objectContaining({ code: 'request_invalid' })));

  test('what is written is read as the same microsecond, and texts sort as times do', () => {
    const times = fc.bigInt({ min: 0n, max: 4_102_444_800_000_000n });
    fc.assert(
      fc.property(times, times, (a, b) => {
        expect(parseRecoveryTime(formatRecoveryTime(a))).toBe(a);
        expect(formatRecoveryTime(a) < formatRecoveryTime(b)).toBe(a < b);
      }),
    );
  });
});
