import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { mkdir, mkdtemp, open, realpath, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archive } from './archiver.ts';
import { createRepository } from './create-repository.ts';
import { findStockRestics } from './testing/stock-restic.ts';
import { cheapKdf, noise } from './testing/test-repository.ts';

const { found } = await findStockRestics();
let place = '';
let source = '';

/** Holes at the beginning, between and at the end, of sizes round what a zero chunk has, and one that is all hole. */
beforeAll(async () => {
  place = await realpath(await mkdtemp(`${tmpdir()}/holdfast-sparse-`));
  source = `${place}/source`;
  await mkdir(source);
  const chunk = 512 * 1024;
  const layouts = [
    [40e6],
    [0, 50e6],
    [30e6, 30e6 + 20 * chunk, 90e6],
    [16 * chunk, 32 * chunk + 1, 48 * chunk - 1],
    [4096, 8e6, 8e6 + 4096, 60e6],
  ];
  for (const [nth, positions] of layouts.entries()) {
    const handle = await open(`${source}/sparse-${nth}`, 'w');
    for (const [seed, position] of positions.entries()) {
      const bytes = noise(700_000 * (seed + 1), nth * 10 + seed);
      await handle.write(bytes, 0, bytes.length, position);
    }
    if (nth % 2 === 0) await handle.truncate(110e6 + nth);
    await handle.close();
  }
  for (const [nth, sizeBytes] of [64 * chunk, 64 * chunk + 1, 64 * chunk - 1].entries()) {
    const handle = await open(`${source}/hole-${nth}`, 'w');
    await handle.truncate(sizeBytes);
    await handle.close();
  }
});
afterAll(() => rm(place, { recursive: true, force: true }));

describe.each(found)('sparse files with $name ($version)', (restic) => {
  it('are cut as it cuts them, holes that we do not read among them', async () => {
    const path = `${place}/repository-${restic.version}`;
    const storage = await openLocalStorage({ path });
    await using repository = await createRepository({ storage, password: 'secret', hostname: hostname(), username: 'root', kdf: cheapKdf });
    const opened = await openFileSystemSource({ paths: [source], roots: [place] });
    const { skipped } = await archive({ repository, source: opened, hostname: hostname(), username: 'root' });
    expect(skipped).toEqual([]);
    const lines = (await restic.run(path, ['backup', '--json', '--force', source])).trim().split('\n');
    // The trees above have other times; the one with the files is ours, chunk for chunk.
    const { data_blobs, tree_blobs } = JSON.parse(lines.at(-1) ?? '') as { data_blobs: number; tree_blobs: number };
    expect([data_blobs, tree_blobs <= 3]).toEqual([0, true]);
    expect(await restic.run(path, ['check', '--read-data'])).toContain('no errors were found');
  });
});
