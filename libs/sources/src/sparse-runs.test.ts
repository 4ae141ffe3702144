import fc from 'fast-check';
import { expect, it } from 'vitest';
import { dataRuns } from './sparse-runs.ts';

it('leaves out only zeros, and never the end', () => {
  const piece = fc.tuple(fc.constantFrom(0, 0, 7), fc.nat({ max: 10_000 }));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), fc.nat({ max: 20_000 }), (pieces, position) => {
      const bytes = Buffer.concat(pieces.map(([value, length]) => Buffer.alloc(length, value)));
      const written = new Uint8Array(bytes.length);
      let end = 0;
      for (const run of dataRuns(bytes, position)) {
        expect(run.start).toBeGreaterThanOrEqual(end);
        expect(run.end).toBeGreaterThan(run.start);
        written.set(bytes.subarray(run.start, run.end), run.start);
        end = run.end;
      }
      expect(Buffer.compare(written, bytes)).toBe(0);
      expect(end).toBe(bytes.length);
    }),
  );
});

it('leaves out whole blocks of the file', () => {
  expect(dataRuns(new Uint8Array(3 * 4096), 0)).toEqual([{ start: 8192, end: 12_288 }]);
  expect(dataRuns(new Uint8Array(10_000), 100)).toEqual([{ start: 8092, end: 10_000 }]);
  expect(dataRuns(new Uint8Array(0), 5)).toEqual([]);
});
