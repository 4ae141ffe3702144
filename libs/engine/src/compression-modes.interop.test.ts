import { randomPolynomial } from '@holdfast/restic-format/chunker';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { makeFolderRepository } from './testing/folder-repository.ts';
import { findStockRestics } from './testing/stock-restic.ts';

const { found, missing } = await findStockRestics();
/** So large a file goes to the threads. */
const threadedBytes = 9_000_000;
const modes = ['off', 'fastest', 'auto', 'better', 'max'] as const;

/** Real text: levels differ little on what is made up. */
async function sourceText(): Promise<string> {
  const files = (await readdir(import.meta.dirname, { recursive: true })).filter((path) => path.endsWith('.ts')).toSorted();
  return (await Promise.all(files.map((path) => readFile(join(import.meta.dirname, path), 'utf8')))).join('');
}

it.skipIf(missing.length > 0)(`stock restic is here (missing: ${missing.join(', ') || 'none'})`, () => {
  expect(found).toHaveLength(2);
});

describe.each([
  ['threads', 2],
  ['no threads', 0],
])('compression with %s', (_name, concurrency) => {
  it('has a level for each mode, and restic checks and restores them all', async () => {
    const text = await sourceText();
    const small = text.slice(0, 20_000);
    const variants = Array.from({ length: Math.ceil(threadedBytes / text.length) }, (_, nth) => text.replaceAll('e', String(nth)));
    const large = variants.join('');
    const storedBytes: number[] = [];
    // Where a file is cut decides what of its repetitions lies within one blob: cut in other places, a lower level can win.
    const chunkerPolynomial = randomPolynomial(randomBytes);
    for (const compression of modes) {
      await using folder = await makeFolderRepository({ chunkerPolynomial });
      await writeFile(join(folder.source, 'large.txt'), large);
      await writeFile(join(folder.source, 'small.txt'), small);
      const { snapshotId, summary } = await folder.archive({ compression, concurrency });
      storedBytes.push(summary.dataAddedPacked);
      for (const restic of found) {
        expect(await restic.run(folder.path, ['check', '--read-data']), compression).toContain('no errors were found');
        const target = `${folder.source}-by-${restic.version}`;
        await restic.run(folder.path, ['restore', snapshotId, '--target', target]);
        expect((await readFile(`${target}${folder.source}/large.txt`, 'utf8')) === large).toBe(true);
        expect((await readFile(`${target}${folder.source}/small.txt`, 'utf8')) === small).toBe(true);
      }
      expect((await check({ repository: folder.repository, level: 'full' })).findings).toEqual([]);
    }
    const [off = 0, ...others] = storedBytes;
    expect(off).toBeGreaterThan(large.length + small.length);
    for (const bytes of others) expect(bytes).toBeLessThan(off / 2);
    // Neighbouring levels may change places on one text or another, but each mode is a level of its own, and max is the last.
    expect(new Set(storedBytes).size, storedBytes.join(' ')).toBe(modes.length);
    expect(Math.min(...others), storedBytes.join(' ')).toBe(others.at(-1));
  }, 60_000);
});
