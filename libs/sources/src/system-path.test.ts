import fc from 'fast-check';
import { expect, it } from 'vitest';
import { pathFromBytes, pathToBytes, printablePath, toSystemPath } from './system-path.ts';

it('gives back the bytes of any path', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const path = pathFromBytes(bytes);
      expect(Buffer.compare(pathToBytes(path), bytes)).toBe(0);
      const forSystem = toSystemPath(path);
      expect(Buffer.compare(typeof forSystem === 'string' ? Buffer.from(forSystem) : forSystem, bytes)).toBe(0);
      expect(printablePath(path).isWellFormed()).toBe(true);
    }),
    { numRuns: 500 },
  );
});

it('prints such bytes as hexadecimal numbers, and all else as it is', () => {
  expect(printablePath('/srv/caf\udce9 ä')).toBe(String.raw`/srv/caf\xe9 ä`);
  expect(printablePath('/srv/café')).toBe('/srv/café');
});
