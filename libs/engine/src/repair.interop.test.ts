import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { repair } from './repair.ts';
import { openRepository } from './repository.ts';
import { makeRealTree } from './testing/real-tree.ts';
import { findStockRestics } from './testing/stock-restic.ts';

const { found } = await findStockRestics();
let place = '';
let source = '';
beforeAll(async () => {
  place = await mkdtemp(`${tmpdir()}/holdfast-repair-`);
  source = `${place}/source`;
  await makeRealTree(source);
});
afterAll(() => rm(place, { recursive: true, force: true }));

async function packPaths(path: string): Promise<string[]> {
  const entries = await readdir(`${path}/data`, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => `${entry.parentPath}/${entry.name}`);
}

/** Each makes a repository such that stock restic complains of it. */
const damages: Record<string, (path: string) => Promise<void>> = {
  'no index': (path) => rm(`${path}/index`, { recursive: true }),
  'a pack that is gone': async (path) => rm((await packPaths(path))[0] ?? '', {}),
  'a flipped bit in each pack': async (path) => {
    for (const [nth, name] of (await packPaths(path)).entries()) {
      const bytes = await readFile(name);
      const at = Math.floor((bytes.length * (nth + 1)) / 10);
      bytes[at] = (bytes[at] ?? 0) ^ 4;
      await rm(name);
      await writeFile(name, bytes);
    }
  },
  'packs cut short': async (path) => {
    for (const name of await packPaths(path)) {
      const bytes = await readFile(name);
      await rm(name);
      await writeFile(name, bytes.subarray(0, -50));
    }
  },
};

describe.each(found)('a repository of $name ($version)', (restic) => {
  it.each(Object.keys(damages))('with %s is clean after a repair, by its own check', async (kind) => {
    const path = `${place}/${restic.version} ${kind}`;
    await restic.run(path, ['init']);
    await restic.run(path, ['backup', `${source}/sub/deep`]);
    await restic.run(path, ['backup', source]);
    const before = `${path} before`;
    await cp(path, before, { recursive: true });
    await damages[kind]?.(path);
    // Reading what is gone, the older one tries again for a minute.
    await expect(restic.run(path, kind.includes('gone') ? ['check'] : ['check', '--read-data'])).rejects.toThrow('restic');
    await using repository = await openRepository({ storage: await openLocalStorage({ path }), password: 'secret' });
    const result = await repair({ repository, level: 'packs', snapshots: 'replace' });
    // A snapshot whose top is lost stays until somebody forgets it: there is nothing to replace it by.
    const lost = result.damagedSnapshots.filter((id) => !result.rewritten.some(({ from }) => from === id));
    for (const id of lost) await restic.run(path, ['forget', id]);
    expect(await restic.run(path, ['check', '--read-data'])).toContain('no errors were found');
    expect((await check({ repository, level: 'checksum' })).damageCount).toBe(0);
    if (kind === 'no index') expect(result).toMatchObject({ lossCount: 0, rewritten: [] });
    if (kind === 'packs cut short') expect(result.brokenPacks).toHaveLength((await packPaths(before)).length);
  });
});
