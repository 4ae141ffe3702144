import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { forget } from './forget.ts';
import { prune } from './pruner.ts';
import { openRepository, type Repository } from './repository.ts';
import { restore } from './restorer.ts';
import { listSnapshots } from './snapshots.ts';
import { describeRealTree, makeRealTree } from './testing/real-tree.ts';
import { findStockRestics, type StockRestic } from './testing/stock-restic.ts';

/** Repositories with everything that stock restic writes into them, made anew each time: what we read is what it writes, not what we think. */
const { found } = await findStockRestics();
let place = '';
let source = '';
beforeAll(async () => {
  place = await mkdtemp(`${tmpdir()}/holdfast-golden-`);
  source = `${place}/source`;
  await makeRealTree(source);
});
afterAll(() => rm(place, { recursive: true, force: true }));

let pathCount = 0;
const newPath = (): string => `${place}/${pathCount++}`;
const isAtLeast = (restic: StockRestic, minor: number): boolean => Number(restic.version.split('.')[1]) >= minor;

async function openAt(path: string): Promise<Repository> {
  return await openRepository({ storage: await openLocalStorage({ path }), password: 'secret' });
}

async function expectWhole(repository: Repository, snapshotIds: readonly string[]): Promise<void> {
  for (const level of ['integrity', 'checksum'] as const) {
    expect((await check({ repository, level })).findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
  }
  for (const snapshotId of snapshotIds) {
    const path = newPath();
    const result = await restore({ repository, snapshotId, target: openFileSystemTarget({ path, roots: [place], overwrite: false }) });
    expect(result.failed).toEqual([]);
    expect(await describeRealTree(path + source)).toEqual(await describeRealTree(source));
  }
}

describe.each(found)('repositories of $name ($version)', (restic) => {
  it.each(['off', 'auto', 'max'])('with compression %s', async (mode) => {
    const path = newPath();
    await restic.run(path, ['init']);
    await restic.run(path, ['backup', '--compression', mode, source]);
    await using repository = await openAt(path);
    await expectWhole(
      repository,
      (await listSnapshots(repository)).map(({ id }) => id),
    );
  });

  it('with packs of other sizes, tags that were changed and snapshots that were taken in many ways', async () => {
    const path = newPath();
    await restic.run(path, ['init']);
    const host = ['--host', 'other host', '--time', '2001-02-03 04:05:06'];
    await restic.run(path, ['backup', '--pack-size', '4', ...host, '--tag', 'a,b', '--exclude', '*.none', source]);
    await restic.run(path, ['backup', '--pack-size', '64', '--force', source]);
    await restic.run(path, ['tag', '--add', 'c', '--remove', 'a', '--tag', 'a']);
    if (isAtLeast(restic, 15)) await restic.run(path, ['rewrite', '--exclude', '*.none-either', '--tag', 'c']);
    await using repository = await openAt(path);
    const snapshots = await listSnapshots(repository);
    expect(snapshots[0]).toMatchObject({ hostname: 'other host', paths: [source], excludes: ['*.none'] });
    expect(snapshots[0]?.tags?.toSorted()).toEqual(['b', 'c']);
    expect(snapshots[0]?.original).toMatch(/^[0-9a-f]{64}$/);
    expect(new Date(Number((snapshots[0]?.timeNs ?? 0n) / 1_000_000n)).getUTCFullYear()).toBe(2001);
    await expectWhole(
      repository,
      snapshots.map(({ id }) => id),
    );
  });

  it('of version 1, and with another password, are refused by name', async () => {
    const path = newPath();
    await restic.run(path, ['init', '--repository-version', '1']);
    await expect(openAt(path)).rejects.toSatisfy((error) => isHoldfastError(error, 'repository_unsupported'));
    const other = newPath();
    await restic.run(other, ['init'], { password: 'another' });
    await expect(openAt(other)).rejects.toSatisfy((error) => isHoldfastError(error, 'repository_password_wrong'));
  });

  it('that the other version went on with, and pruned, and that we prune', async () => {
    const path = newPath();
    const all = [restic, ...found.filter((one) => one !== restic)];
    await restic.run(path, ['init']);
    for (const [nth, one] of all.entries()) {
      await writeFile(`${source}/passing`, `only in ${nth}`.repeat(10_000));
      await one.run(path, ['backup', source]);
      await rm(`${source}/passing`);
    }
    for (const one of all) await one.run(path, ['backup', source]);
    await using repository = await openAt(path);
    const [first, second, ...last] = (await listSnapshots(repository)).map(({ id }) => id);
    for (const one of all.slice(1)) await one.run(path, ['forget', first ?? '', '--prune', '--max-unused', '0']);
    await forget({ repository, snapshotIds: [second ?? ''] });
    await prune({ repository, maxUnusedPercent: 0 });
    for (const one of all) expect(await one.run(path, ['check', '--read-data'])).toContain('no errors were found');
    await expectWhole(repository, last);
  });
});
