import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { openHeldStorage, type HoldRule } from '@holdfast/storage/testing/held-storage';
import { describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { forget, findHeldSnapshots } from './forget.ts';
import { joinHeld } from './held-objects.ts';
import { prune } from './pruner.ts';
import type { Repository } from './repository.ts';
import { listSnapshots } from './snapshots.ts';
import { dataFolder as folder, goes, stays } from './testing/prunable-trees.ts';
import {
  archiveTree,
  createTestRepository,
  expectedContents,
  impatientClock as clock,
  noise,
  restoredContents,
  restoreTree,
  text,
} from './testing/test-repository.ts';

const gone = { type: 'file', bytes: noise(700_000, 3) } as const;
/** One pack is of use in part, another one not at all. */
const trees = [folder({ stays, goes, old: text('old') }), folder({ stays, gone }), folder({ stays, new: text('new') })];
const keptTree = trees[2] ?? {};

const soon = new Date('2030-01-01T00:00:00.000Z');
const late = new Date('2030-06-01T00:00:00.000Z');
const before = new Date('2029-12-01T00:00:00.000Z');
const after = new Date('2030-07-01T00:00:00.000Z');

interface Held {
  readonly inner: Storage;
  readonly repository: Repository;
  readonly kept: string;
  readonly expired: readonly string[];
  readonly time: { now: Date };
}

/** The rule is in force from the begin of the repository on. */
async function makeHeld(rule: HoldRule, tells = true): Promise<Held> {
  const time = { now: before };
  const inner = openMemoryStorage();
  const repository = await createTestRepository(openHeldStorage(inner, { rule, now: () => time.now, tells }));
  const ids: string[] = [];
  for (const tree of trees) ids.push((await archiveTree(repository, tree)).snapshotId);
  return { inner, repository, time, kept: ids[2] ?? '', expired: ids.slice(0, 2) };
}

async function names({ inner }: Held): Promise<string[]> {
  return (await Array.fromAsync(inner.list(''))).map(({ name }) => name).toSorted();
}

/** With `mayWaste`: a pack that takes room and is of no use is no damage. */
async function expectWhole({ repository, kept }: Held, mayWaste = false): Promise<void> {
  for (const level of ['integrity', 'checksum'] as const) {
    const { findings } = await check({ repository, level, clock });
    expect(findings.filter(({ severity }) => !mayWaste || severity !== 'warning')).toEqual([]);
  }
  expect(restoredContents(await restoreTree(repository, kept))).toEqual(expectedContents(keptTree));
}

/** As a cleanup does it: what is held is left out, the rest forgotten. */
async function cleanUp({ repository, expired }: Held) {
  const { heldIds, held } = await findHeldSnapshots(repository, expired);
  const free = expired.filter((id) => !heldIds.includes(id));
  const forgotten = await forget({ repository, snapshotIds: free, clock });
  const pruned = await prune({ repository, clock, maxUnusedPercent: 0 });
  return { forgottenIds: forgotten.forgottenIds, pruned, held: joinHeld(joinHeld(held, forgotten.held), pruned.held) };
}

const isLocked = (name: string): boolean => !name.startsWith('locks/');

describe('cleaning up what is held', () => {
  it('changes nothing while all is held, says until when, and frees it later', async () => {
    const held = await makeHeld((name) => (isLocked(name) ? soon : undefined));
    const untouched = await names(held);
    const first = await cleanUp(held);
    expect(first).toMatchObject({ forgottenIds: [], pruned: { packsDeleted: 0, packsRepacked: 0, bytesFreed: 0, indexFilesDeleted: 0 } });
    expect(first.held).toMatchObject({
      snapshotCount: 2,
      firstFreeAt: soon.toISOString(),
      lastFreeAt: soon.toISOString(),
      endUnknownCount: 0,
    });
    expect(await names(held)).toEqual(untouched);
    expect(await listSnapshots(held.repository)).toHaveLength(3);
    await expectWhole(held);

    held.time.now = after;
    const second = await cleanUp(held);
    expect(second.held).toBeUndefined();
    expect(second.forgottenIds).toHaveLength(2);
    expect(second.pruned.bytesFreed).toBeGreaterThan(2_000_000);
    await expectWhole(held);
    expect((await cleanUp(held)).pruned).toMatchObject({ bytesFreed: 0, packsDeleted: 0 });
  });

  it('leaves packs that are held in the index, and takes the others', async () => {
    const packs: string[] = [];
    const held = await makeHeld((name) => (packs.includes(name) ? late : undefined));
    packs.push(...(await names(held)).filter((name) => name.startsWith('data/')));
    const { forgottenIds, pruned, held: told } = await cleanUp(held);
    expect(forgottenIds).toHaveLength(2);
    expect(pruned).toMatchObject({ packsDeleted: 0, packsRepacked: 0, bytesFreed: 0 });
    expect(told).toMatchObject({ snapshotCount: 0, indexFileCount: 0, firstFreeAt: late.toISOString() });
    expect(told?.packCount).toBeGreaterThan(1);
    expect(told?.bytes).toBeGreaterThan(2_000_000);
    await expectWhole(held);
    // Once more makes nothing grow.
    const again = await names(held);
    expect((await cleanUp(held)).held).toEqual(told);
    expect(await names(held)).toEqual(again);

    packs.splice(1);
    const { pruned: some, held: rest } = await cleanUp(held);
    expect(some.bytesFreed).toBeGreaterThan(0);
    expect(rest?.packCount ?? 0).toBeLessThanOrEqual(1);
    await expectWhole(held);
  });

  it('keeps what a held index file names, for as long as that is held', async () => {
    const held = await makeHeld((name) => (name.startsWith('index/') ? late : name.startsWith('data/') ? soon : undefined));
    const { forgottenIds, pruned, held: told } = await cleanUp(held);
    expect(forgottenIds).toHaveLength(2);
    expect(pruned.packsDeleted).toBe(0);
    expect(told?.indexFileCount).toBeGreaterThan(0);
    expect(told).toMatchObject({ firstFreeAt: late.toISOString(), lastFreeAt: late.toISOString() });
    await expectWhole(held);
    // The packs are free now, and the index files that name them are not.
    held.time.now = new Date(soon.getTime() + 1);
    const untouched = await names(held);
    expect((await cleanUp(held)).pruned).toMatchObject({ packsDeleted: 0, packsRepacked: 0 });
    expect(await names(held)).toEqual(untouched);
    await expectWhole(held);
    held.time.now = after;
    expect((await cleanUp(held)).held).toBeUndefined();
    await expectWhole(held);
  });

  it('holds anew what is in use, and nothing that is to go', async () => {
    const renewed = new Set<string>();
    const time = { now: before };
    const inner = openMemoryStorage();
    const renewHold = async (name: string): Promise<boolean> => {
      await inner.stat(name);
      return !renewed.has(name) && renewed.add(name) !== undefined;
    };
    const rule: HoldRule = (name) => (isLocked(name) ? soon : undefined);
    const repository = await createTestRepository(openHeldStorage(inner, { rule, now: () => time.now, renewHold }));
    const ids: string[] = [];
    for (const tree of trees) ids.push((await archiveTree(repository, tree)).snapshotId);
    const options = { repository, clock, maxUnusedPercent: 0, expiredIds: ids.slice(0, 1) };
    expect(await prune({ ...options, dryRun: true })).toMatchObject({ holdsRenewed: 0 });
    expect(renewed.size).toBe(0);
    const { holdsRenewed } = await prune(options);
    expect(holdsRenewed).toBe(renewed.size);
    expect((await prune(options)).holdsRenewed).toBe(0);
    const listed = (await Array.fromAsync(inner.list(''))).map(({ name }) => name);
    // Several small index files wait to become one.
    const waiting = new Set([`snapshots/${ids[0]}`, ...listed.filter((name) => name.startsWith('index/'))]);
    expect(renewed).toEqual(new Set(listed.filter((name) => !waiting.has(name))));

    // Once a snapshot has gone, what only it needed is left to its end.
    renewed.clear();
    await inner.delete(`snapshots/${ids[0]}`);
    const { held } = await prune({ ...options, expiredIds: [] });
    const packs = listed.filter((name) => name.startsWith('data/'));
    expect(held?.packCount).toBeGreaterThan(0);
    expect([...renewed].filter((name) => name.startsWith('data/'))).toHaveLength(packs.length - (held?.packCount ?? 0));
  });

  it('says the same as a dry run, and changes nothing', async () => {
    const held = await makeHeld((name) => (name.startsWith('data/') ? soon : undefined));
    await forget({ repository: held.repository, snapshotIds: held.expired, clock });
    const untouched = await names(held);
    const dry = await prune({ repository: held.repository, clock, dryRun: true, maxUnusedPercent: 0 });
    expect(await names(held)).toEqual(untouched);
    expect((await prune({ repository: held.repository, clock, maxUnusedPercent: 0 })).held).toEqual(dry.held);
    expect(dry.held?.packCount).toBeGreaterThan(0);
  });

  it('says of how many nobody knows when they become free', async () => {
    const held = await makeHeld((name) => (name.startsWith('snapshots/') ? 'for good' : name.startsWith('data/') ? soon : undefined));
    const { held: told } = await cleanUp(held);
    expect(told).toMatchObject({ snapshotCount: 2, endUnknownCount: 2, firstFreeAt: null, lastFreeAt: null });
    await expectWhole(held);
  });

  it.each(['snapshots/', 'index/', 'data/', ''])('goes on when only the delete of %s tells that it is held', async (prefix) => {
    const held = await makeHeld((name) => (isLocked(name) && name.startsWith(prefix) ? soon : undefined), false);
    const { held: told } = await cleanUp(held);
    const [kind, count] =
      prefix === 'snapshots/' || prefix === ''
        ? ['snapshotCount', 2]
        : [prefix === 'index/' ? 'indexFileCount' : 'packCount', expect.any(Number) as number];
    expect(told).toMatchObject({ [kind]: count, firstFreeAt: soon.toISOString() });
    await expectWhole(held, true);
    held.time.now = after;
    const later = await cleanUp(held);
    expect(later.held).toBeUndefined();
    await expectWhole(held);
    expect(await listSnapshots(held.repository)).toHaveLength(1);
    // Nothing is left of what could not go at first.
    expect((await cleanUp(held)).pruned).toMatchObject({ bytesFreed: 0, packsDeleted: 0 });
  });
});
