import { mkdtemp, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { nsOf, secondsOf } from './restored-metadata.ts';

it('finds a float of seconds in the same microsecond, as the system takes it', async () => {
  const path = join(await mkdtemp(join(tmpdir(), 'holdfast-times-')), 'file');
  onTestFinished(() => rm(join(path, '..'), { recursive: true }));
  await writeFile(path, '');
  await fc.assert(
    fc.asyncProperty(fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }), async (ns) => {
      const seconds = secondsOf(ns);
      await utimes(path, seconds, seconds);
      const { mtimeNs } = await stat(path, { bigint: true });
      expect(mtimeNs).toBe(nsOf(seconds));
      expect(mtimeNs / 1000n).toBe(ns / 1000n);
    }),
    { numRuns: 300 },
  );
});
