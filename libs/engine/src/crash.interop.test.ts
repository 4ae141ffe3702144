import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { faultAt, openFaultyStorage } from '@holdfast/storage/testing/faulty-storage';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { forget } from './forget.ts';
import { currentHolder } from './lock-holder.ts';
import { prune } from './pruner.ts';
import type { Repository } from './repository.ts';
import { findStockRestics } from './testing/stock-restic.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import { archiveTree, createTestRepository, impatientClock as clock, noise, openTestRepository, text } from './testing/test-repository.ts';

const { found } = await findStockRestics();
const folder = (entries: MemoryFolder): MemoryFolder => ({ data: { type: 'dir', entries } });
const first = folder({ one: { type: 'file', bytes: noise(700_000, 1) }, both: text('both') });
const second = folder({ two: { type: 'file', bytes: noise(300_000, 2) }, both: text('both') });
const holder = { ...currentHolder(), hostname: hostname(), pid: 2 ** 22 + 7 };

let place = '';
let kept = '';
let forgotten = '';
beforeAll(async () => {
  place = await mkdtemp(`${tmpdir()}/holdfast-crash-`);
  await using repository = await createTestRepository(await openLocalStorage({ path: `${place}/base` }));
  forgotten = (await archiveTree(repository, first)).snapshotId;
  kept = (await archiveTree(repository, second)).snapshotId;
});
afterAll(() => rm(place, { recursive: true, force: true }));

const works: Record<string, (repository: Repository) => Promise<unknown>> = {
  backup: (repository) => archiveTree(repository, folder({ three: { type: 'file', bytes: noise(900_000, 3) } }), { holder }),
  'forget and prune': async (repository) => {
    await forget({ repository, snapshotIds: [forgotten], clock, holder });
    await prune({ repository, maxUnusedPercent: 0, clock, holder });
  },
};

// Each crash costs a second of restic: every third operation, while the sweep on memory storage does all of them.
describe.each(found)('after a crash $name ($version)', (restic) => {
  it.each(Object.keys(works))('finds no error and restores older snapshots: %s', async (name) => {
    for (let number = 3; ; number += 3) {
      const path = `${place}/${restic.version}-${name}-${number}`;
      await cp(`${place}/base`, path, { recursive: true });
      const faulty = openFaultyStorage(
        await openLocalStorage({ path }),
        faultAt(number, number % 2 === 0 ? 'crash-after' : 'crash-before'),
      );
      const repository = await openTestRepository(faulty).catch(() => null);
      await (repository === null ? null : works[name]?.(repository).catch(() => null));
      await faulty.close();
      await restic.run(path, ['unlock']);
      expect(await restic.run(path, ['check', '--read-data'])).toContain('no errors were found');
      await restic.run(path, ['restore', kept, '--target', `${path}-restored`]);
      await rm(path, { recursive: true });
      if (!faulty.isCrashed) break;
    }
  });
});
