import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatLsn, parseLsn } from './lsn.ts';

test('is read and written as the server shows it', () => {
  expect(parseLsn('0/16B3748')).toBe(0x16b3748n);
  expect(parseLsn('16/b374d848')).toBe(0x16b374d848n);
  expect(formatLsn(0x16b374d848n)).toBe('16/B374D848');
  expect(formatLsn(0n)).toBe('0/0');
});

test('what was written is read again, over all 64 bits', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (lsn) => {
      expect(parseLsn(formatLsn(lsn))).toBe(lsn);
    }),
  );
});

test.each(['', '0', '0/', '/0', '0/123456789', '123456789/0', '0x1/2', '-1/0', '0/16B3748 ', '0/16G'])('refuses %j', (text) => {
  expect(() => parseLsn(text)).toThrow(expect.objectContaining({ code: 'request_invalid' }));
});
