import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { bytesOfName, nameOfBytes } from './file-name.ts';
import { encodeGoJson, encodeGoString } from './go-json.ts';
import { quoteName, unquoteName } from './go-quote.ts';

describe('quoteName', () => {
  test.each([
    ['plain name.txt', 'plain name.txt'],
    ['a"b\\c', String.raw`a\"b\\c`],
    ["it's <&>", "it's <&>"],
    ['\u0007\b\f\n\r\t\v', String.raw`\a\b\f\n\r\t\v`],
    ['\u0001\u001b\u007f', String.raw`\x01\x1b\x7f`],
    ['grün 日本 😀', 'grün 日本 😀'],
    ['\u0085\u00a0\u00ad\u200b\ufeff', String.raw`\u0085\u00a0\u00ad\u200b\ufeff`],
    ['\u{e0001}\u{10ffff}', String.raw`\U000e0001\U0010ffff`],
    ['\udcff\udc80x', String.raw`\xff\x80x`],
    ['\ufffd', '\ufffd'],
  ])('%j', (name, quoted) => {
    expect(quoteName(name)).toBe(quoted);
    expect(unquoteName(quoted)).toBe(name);
  });

  test('unquoteName takes every escape of Go, and bytes that make a character together', () => {
    expect(unquoteName(String.raw`\xc3\xa9\303\251\u00e9\U0001F600`)).toBe('ééé😀');
  });

  test.each([
    String.raw`\q`,
    '\\',
    String.raw`\x4`,
    String.raw`\u12`,
    String.raw`\ud800`,
    String.raw`\U00110000`,
    '"',
    'a\nb',
    String.raw`\'`,
  ])('unquoteName refuses %j', (quoted) => expect(unquoteName(quoted)).toBeNull());

  test('unquoteName refuses an octal escape past a byte', () => expect(unquoteName(String.raw`\777`)).toBeNull());

  test('every name comes back', () => {
    const name = fc.oneof(fc.string({ unit: 'binary' }), fc.uint8Array().map(nameOfBytes));
    fc.assert(
      fc.property(name, (text) => {
        expect(unquoteName(quoteName(text))).toBe(text);
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const read = unquoteName(text);
        if (read !== null) expect(bytesOfName(read).length).toBeLessThanOrEqual(Buffer.from(text).length);
      }),
    );
  });
});

describe('Go JSON', () => {
  test('strings are escaped as in HTML', () => {
    expect(encodeGoString('<a href="x">&\u2028\u2029</a>')).toBe(String.raw`"\u003ca href=\"x\"\u003e\u0026\u2028\u2029\u003c/a\u003e"`);
    expect(encodeGoString('\b\f\n\r\t\u0001\u007f\u0085é')).toBe(`"${String.raw`\b\f\n\r\t\u0001`}\u007f\u0085é"`);
    expect(encodeGoString('\udcff\ufffd')).toBe(`"${String.raw`\ufffd`}\ufffd"`);
  });

  test('strings without surrogates read as themselves', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(JSON.parse(encodeGoString(text))).toBe(text);
      }),
    );
  });

  test('values', () => {
    const value = { b: [1, 'x<', null, true], a: { c: 2n ** 64n - 1n, left: undefined }, empty: [], none: {} };
    expect(encodeGoJson(value)).toBe(String.raw`{"b":[1,"x\u003c",null,true],"a":{"c":18446744073709551615},"empty":[],"none":{}}`);
  });
});
