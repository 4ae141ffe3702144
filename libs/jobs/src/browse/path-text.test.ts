import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pathMaxBytes, readName, readPath, writePath } from './path-text.ts';

test.each([
  ['/home/ann/plan.txt', '/home/ann/plan.txt'],
  ['/häßlich/日本/😀', '/häßlich/日本/😀'],
  [String.raw`/a\b`, String.raw`/a\\b`],
  ['/two\nlines\x1b[31m', String.raw`/two\nlines\x1b[31m`],
  ['/caf\udce9', String.raw`/caf\xe9`],
  ['/\udcff\udc80', String.raw`/\xff\x80`],
  [`/${'\udcff'.repeat(255)}`, `/${String.raw`\xff`.repeat(255)}`],
])('%j is written %s, and read back', (path, text) => {
  expect(writePath(path)).toBe(text);
  expect(readPath(text)).toBe(path);
});

test('bytes that are UTF-8 after all are read as what they are', () => {
  expect(readPath(String.raw`/caf\xc3\xa9`)).toBe('/café');
  expect(readPath('/\ufffd')).toBe('/\ufffd');
  expect(readPath(String.raw`/\xef\xbf\xbd\xff`)).toBe('/\ufffd\udcff');
});

test.each([
  ['', 'must be absolute'],
  ['home', 'must be absolute'],
  ['/a/../b', 'must not have . or ..'],
  ['/..', 'must not have . or ..'],
  ['/./a', 'must not have . or ..'],
  ['//a', 'must not have an empty part'],
  ['/a//b', 'must not have an empty part'],
  [String.raw`/a\x2f..\x2f`, 'must not have . or ..'],
  ['/a\0b', 'must not hold NUL'],
  [String.raw`/a\x00`, 'must not hold NUL'],
  [String.raw`/a\q`, 'begins no escape'],
  ['/a\\', 'begins no escape'],
  ['/\udc80', 'must be UTF-8'],
  [`/${'a'.repeat(pathMaxBytes)}`, 'must be at most'],
])('%j is refused: %s', (text, message) => {
  expect(() => readPath(text)).toThrow(message);
});

test('a slash at the end names the same folder, and / the whole snapshot', () => {
  expect(readPath('/a/')).toBe('/a');
  expect(readPath('/')).toBe('/');
});

test('percent signs are characters like others: nothing is decoded twice', () => {
  expect(readPath('/%2e%2e/%00')).toBe('/%2e%2e/%00');
});

test('whatever bytes a name has, it is read as it was written', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const escapes = [...bytes].map((byte) => `\\x${(byte === 0 ? 1 : byte).toString(16).padStart(2, '0')}`).join('');
      const name = readName(escapes);
      expect(readName(writePath(name))).toBe(name);
      // oxlint-disable-next-line no-control-regex -- what must not get out
      expect(writePath(name)).toMatch(/^[^\u0000-\u001f\u007f]*$/u);
      expect(writePath(name).isWellFormed()).toBe(true);
    }),
  );
});
