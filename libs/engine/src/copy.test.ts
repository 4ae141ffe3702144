import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { faultAt, openFaultyStorage, type Fault, type StorageOperation } from '@holdfast/storage/testing/faulty-storage';
import { describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { copySnapshots } from './copy.ts';
import { createRepository } from './create-repository.ts';
import { loadIndex } from './load-index.ts';
import { currentHolder } from './lock-holder.ts';
import type { Repository } from './repository.ts';
import { listSnapshots, loadSnapshot } from './snapshots.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import {
  archiveTree,
  cheapKdf,
  createTestRepository,
  expectedContents,
  impatientClock as clock,
  noise,
  openTestRepository,
  restoredContents,
  restoreTree,
  text,
} from './testing/test-repository.ts';

const folder = (entries: MemoryFolder): MemoryFolder => ({ data: { type: 'dir', entries } });
const both = { type: 'file', bytes: noise(700_000, 1) } as const;
const trees = [
  folder({ both, one: text('one'), long: text('compressible '.repeat(10_000)) }),
  folder({ both, two: text('two'), sub: { type: 'dir', entries: { deep: text('deep') } } }),
] as const;

async function makeSource(): Promise<{ from: Repository; ids: string[] }> {
  const from = await createTestRepository(openMemoryStorage(), { password: 'from' });
  const ids: string[] = [];
  for (const [nth, tree] of trees.entries()) {
    ids.push((await archiveTree(from, tree, { tags: ['holdfast', `nth:${nth}`], compression: nth === 0 ? 'auto' : 'off' })).snapshotId);
  }
  return { from, ids };
}

async function expectCopied(to: Repository, copied: readonly { to: string }[]): Promise<void> {
  for (const level of ['integrity', 'checksum'] as const) expect((await check({ repository: to, level, clock })).findings).toEqual([]);
  for (const [nth, { to: id }] of copied.entries()) {
    expect(restoredContents(await restoreTree(to, id))).toEqual(expectedContents(trees[nth] ?? {}));
  }
}

const bytesOf = async ({ storage }: Repository): Promise<number> =>
  (await Array.fromAsync(storage.list('data/'))).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

describe('copySnapshots', () => {
  it('brings snapshots over to other keys and another polynomial, once', async () => {
    const { from, ids } = await makeSource();
    const to = await createTestRepository(openMemoryStorage(), { password: 'to' });
    const phases = new Set<string>();
    const result = await copySnapshots({ from, to, clock, onProgress: ({ phase }) => phases.add(phase) });
    expect(result).toMatchObject({ alreadyThere: [], failed: [], cutsAlike: false });
    expect(result.copied.map((copy) => copy.from)).toEqual(ids);
    expect(phases).toEqual(new Set(['marking', 'copying']));
    await expectCopied(to, result.copied);
    const [original, copy] = [await loadSnapshot(from, ids[0] ?? ''), await loadSnapshot(to, result.copied[0]?.to ?? '')];
    expect(copy).toEqual({ ...original, id: copy.id, original: original.id });

    const again = await copySnapshots({ from, to, clock });
    expect(again).toMatchObject({ copied: [], alreadyThere: result.copied, blobsCopied: 0 });
    // And back: the copies are known for what they are.
    expect(await copySnapshots({ from: to, to: from, clock })).toMatchObject({ copied: [], blobsCopied: 0 });
  });

  it('keeps cuts, so that a later backup to a repository with the same polynomial finds everything', async () => {
    const { from, ids } = await makeSource();
    const { chunkerPolynomial } = from;
    const storage = openMemoryStorage();
    const to = await createRepository({ storage, password: 'to', hostname: 'host', username: 'ann', kdf: cheapKdf, chunkerPolynomial });
    const [first = ''] = ids;
    const result = await copySnapshots({ from, to, snapshotIds: [first], clock });
    expect(result.cutsAlike).toBe(true);
    const { summary } = await archiveTree(to, trees[0]);
    expect(summary).toMatchObject({ dataBlobs: 0, treeBlobs: 0 });
    expect((await listSnapshots(to)).length).toBe(2);
    // Only what the first lacks.
    const second = await copySnapshots({ from, to, clock });
    expect(second.bytesCopied).toBeLessThan(2000);
    await expectCopied(to, [...result.copied, ...second.copied]);
  });

  it('compresses what was not', async () => {
    const { from, ids } = await makeSource();
    const tree = folder({ long: text('compressible '.repeat(100_000)) });
    const { snapshotId } = await archiveTree(from, tree, { compression: 'off' });
    const to = await createTestRepository();
    const { copied } = await copySnapshots({ from, to, snapshotIds: [snapshotId], clock });
    expect(await bytesOf(to)).toBeLessThan(100_000);
    expect(restoredContents(await restoreTree(to, copied[0]?.to ?? ''))).toEqual(expectedContents(tree));
    expect(ids).toHaveLength(2);
  });

  it('shows nothing of a snapshot that is not whole, and copies the others', async () => {
    const { from, ids } = await makeSource();
    const { index } = await loadIndex(from);
    const lost = (await loadSnapshot(from, ids[1] ?? '')).tree;
    const packId = index.lookup('tree', lost)?.packId ?? '';
    const name = `data/${packId.slice(0, 2)}/${packId}`;
    await spoil(from.storage, name);
    const to = await createTestRepository();
    const result = await copySnapshots({ from, to, clock });
    expect(result.failed).toMatchObject([{ from: ids[1] }]);
    await expectCopied(to, result.copied);
    expect(result.copied).toHaveLength(1);
  });

  it('refuses itself and a snapshot that is not there', async () => {
    const { from } = await makeSource();
    const to = await createTestRepository();
    await expect(copySnapshots({ from, to: from, clock })).rejects.toSatisfy((error) => isHoldfastError(error, 'request_invalid'));
    await expect(copySnapshots({ from, to, snapshotIds: ['f'.repeat(64)], clock })).rejects.toSatisfy((error) =>
      isHoldfastError(error, 'snapshot_missing'),
    );
    expect(await Array.fromAsync(to.storage.list('locks/'))).toEqual([]);
  });

  it('leaves both whole whatever operation fails, and goes on the next time', async () => {
    const { from } = await makeSource();
    const base = openMemoryStorage();
    await createTestRepository(base);
    const holder = { ...currentHolder(), pid: 2 ** 22 + 7 };
    let points = 0;
    for (const side of ['from', 'to'] as const) {
      for (let number = 1; ; number++) {
        let isBeyondEnd = true;
        for (const fault of ['before', 'after', 'crash-before', 'crash-after'] satisfies Fault[]) {
          const ends = { from: await cloneOf(from.storage), to: await cloneOf(base) };
          const faulty = openFaultyStorage(ends[side], faultAt(number, fault));
          const open = async (end: 'from' | 'to') =>
            await openTestRepository(end === side ? faulty : ends[end], end === 'from' ? 'from' : 'secret');
          await Promise.all([open('from'), open('to')])
            .then(([source, target]) => copySnapshots({ from: source, to: target, clock, holder }))
            .catch(() => {});
          isBeyondEnd &&= faulty.operationCount < number;
          points++;
          const to = await openTestRepository(ends.to);
          expect((await check({ repository: to, level: 'integrity', clock })).damageCount).toBe(0);
          const whole = await openTestRepository(ends.from, 'from');
          const { copied, alreadyThere, failed } = await copySnapshots({ from: whole, to, clock });
          expect(failed).toEqual([]);
          const all = [...alreadyThere, ...copied];
          expect((await listSnapshots(to)).map(({ id }) => id).toSorted()).toEqual(all.map((one) => one.to).toSorted());
          for (const [nth, one] of all.entries()) {
            expect(restoredContents(await restoreTree(to, one.to))).toEqual(expectedContents(trees[nth] ?? {}));
          }
        }
        if (isBeyondEnd) break;
      }
    }
    process.stdout.write(`crash sweep of a copy: ${points} points\n`);
    expect(points).toBeGreaterThan(120);
  });

  it('does not send again what has landed', async () => {
    const from = await createTestRepository();
    const files = Object.fromEntries(
      Array.from({ length: 4 }, (_, nth) => [`f${nth}`, { type: 'file', bytes: noise(18_000_000, nth) } as const]),
    );
    await archiveTree(from, folder(files));
    const base = openMemoryStorage();
    await createTestRepository(base);
    // Each pack that lands is at once so late that it is indexed.
    let nowMs = Date.now();
    const fast = { ...clock, now: () => new Date((nowMs += 40_000)) };
    let indexFiles = 0;
    const faulty = openFaultyStorage(base, ({ kind, name }) => {
      if (kind === 'put' && name.startsWith('index/')) indexFiles++;
      return indexFiles > 2 ? 'crash-before' : undefined;
    });
    const holder = { ...currentHolder(), pid: 2 ** 22 + 7 };
    await expect(copySnapshots({ from, to: await openTestRepository(faulty), clock: fast, holder })).rejects.toThrow('planned');
    const to = await openTestRepository(base);
    const { bytesCopied, copied } = await copySnapshots({ from, to, clock });
    expect(bytesCopied).toBeLessThan(72_000_000 - 30_000_000);
    expect(restoredContents(await restoreTree(to, copied[0]?.to ?? ''))).toEqual(expectedContents(folder(files)));
  });
});

describe('a copy that is taken part in', () => {
  it('chooses among what is there, under the lock', async () => {
    const { from, ids } = await makeSource();
    const to = await createTestRepository();
    const seen: string[][] = [];
    const choose = async (snapshots: readonly { id: string }[]) => {
      seen.push(snapshots.map(({ id }) => id));
      expect(await Array.fromAsync(from.storage.list('locks/'))).toHaveLength(1);
      return ids.slice(1);
    };
    const result = await copySnapshots({ from, to, choose, clock });
    expect(seen).toEqual([ids]);
    expect(result.copied).toMatchObject([{ from: ids[1], tags: ['holdfast', 'nth:1'] }]);
  });

  it('leaves one copy of each snapshot when two come at once and write one after the other', async () => {
    const { from, ids } = await makeSource();
    const storage = openMemoryStorage();
    await createTestRepository(storage);
    const arrived = Promise.withResolvers<void>();
    let turn: Promise<unknown> = arrived.promise;
    let arrivedCount = 0;
    const told: { from: string; to: string }[] = [];
    const one = async () =>
      copySnapshots({
        from: await openTestRepository(from.storage, 'from'),
        to: await openTestRepository(storage),
        clock,
        async commit(write) {
          const mine = turn.then(() => write(AbortSignal.timeout(10_000)));
          if (++arrivedCount === 2) arrived.resolve();
          turn = mine;
          told.push(...(await mine));
        },
      });
    const results = await Promise.all([one(), one()]);
    const to = await openTestRepository(storage);
    expect(await listSnapshots(to)).toHaveLength(2);
    expect(results.flatMap(({ copied }) => copied)).toHaveLength(2);
    // Both know of all copies.
    for (const { copied, alreadyThere } of results) expect([...copied, ...alreadyThere].map((copy) => copy.from)).toEqual(ids);
    expect(told.map((copy) => copy.from)).toEqual([...ids, ...ids]);
    const { copied } = await copySnapshots({ from, to, clock });
    expect(copied).toEqual([]);
    expect((await check({ repository: to, level: 'full', clock })).damageCount).toBe(0);
  });

  it('writes no snapshot that the caller does not want written, and finds its blobs again', async () => {
    const { from } = await makeSource();
    const to = await createTestRepository();
    const commit = () => Promise.reject(new Error('somebody else has the run'));
    await expect(copySnapshots({ from, to, commit, clock })).rejects.toThrow('somebody else has the run');
    expect(await listSnapshots(to)).toEqual([]);
    const again = await copySnapshots({ from, to, clock });
    expect(again).toMatchObject({ blobsCopied: 0, packIds: [] });
    await expectCopied(to, again.copied);
  });

  it('copies what it can when a snapshot, or an index file, of the source cannot be read', async () => {
    const { from, ids } = await makeSource();
    const [first = '', second = ''] = ids;
    await spoil(from.storage, `snapshots/${first}`);
    const to = await createTestRepository();
    const result = await copySnapshots({ from: await openTestRepository(from.storage, 'from'), to, clock });
    expect(result.failed).toMatchObject([{ from: first }]);
    expect(result.copied).toMatchObject([{ from: second }]);

    const indexes = await Array.fromAsync(from.storage.list('index/'));
    await spoil(from.storage, indexes[0]?.name ?? '');
    const warnings: string[] = [];
    const other = await createTestRepository();
    const source = await openTestRepository(from.storage, 'from');
    const rest = await copySnapshots({ from: source, to: other, clock, onWarning: (message) => void warnings.push(message) });
    expect(warnings).toContainEqual(expect.stringContaining('index'));
    expect(rest.failed.length + rest.copied.length).toBe(2);
    expect((await check({ repository: other, level: 'full', clock })).damageCount).toBe(0);
  });

  it('tells what it has written, which a check reads and nothing else', async () => {
    const { from, ids } = await makeSource();
    const [first = '', second = ''] = ids;
    const to = await createTestRepository();
    const before = await copySnapshots({ from, to, snapshotIds: [first], clock });
    expect(before.packBytes).toBe(await bytesOf(to));
    const result = await copySnapshots({ from, to, snapshotIds: [second], clock });
    const packIds = new Set(result.packIds);
    expect(packIds.size).toBeGreaterThan(0);
    const copies = result.copied.map((copy) => copy.to);
    const checked = await check({ repository: to, level: 'full', snapshotIds: copies, subset: { packIds }, clock });
    expect(checked).toMatchObject({ findings: [], packsChecked: packIds.size, snapshotsChecked: 1 });
    await spoil(to.storage, `data/${result.packIds[0]?.slice(0, 2)}/${result.packIds[0]}`);
    const spoilt = await check({ repository: to, level: 'full', snapshotIds: copies, subset: { packIds }, clock });
    expect(spoilt.damageCount).toBeGreaterThan(0);
  });

  it.each(['storage_full', 'storage_unreachable', 'storage_denied'] as const)(
    'ends with %s when the target says so, shows nothing, lets go of both, and goes on the next time',
    async (code) => {
      const { from, ids } = await makeSource();
      const base = openMemoryStorage();
      await createTestRepository(base);
      const rule = ({ kind, name }: StorageOperation): Fault | undefined =>
        kind === 'put' && name.startsWith('data/') ? 'before' : undefined;
      const faulty = openFaultyStorage(base, rule, () => new HoldfastError(code, 'planned'));
      const refused = copySnapshots({ from, to: await openTestRepository(faulty), clock });
      await expect(refused).rejects.toSatisfy((error) => isHoldfastError(error, code));
      const to = await openTestRepository(base);
      expect(await listSnapshots(to)).toEqual([]);
      for (const { storage } of [from, to]) expect(await Array.fromAsync(storage.list('locks/'))).toEqual([]);
      const { copied } = await copySnapshots({ from, to, clock });
      expect(copied.map((copy) => copy.from)).toEqual(ids);
      await expectCopied(to, copied);
    },
  );

  it('goes on with packs that landed and that a killed run could not index', async () => {
    const from = await createTestRepository();
    const files = Object.fromEntries(
      Array.from({ length: 3 }, (_, nth) => [`f${nth}`, { type: 'file', bytes: noise(18_000_000, nth) } as const]),
    );
    await archiveTree(from, folder(files));
    const base = openMemoryStorage();
    await createTestRepository(base);
    const faulty = openFaultyStorage(base, ({ kind, name }) => (kind === 'put' && name.startsWith('index/') ? 'crash-before' : undefined));
    const holder = { ...currentHolder(), pid: 2 ** 22 + 7 };
    await expect(copySnapshots({ from, to: await openTestRepository(faulty), clock, holder })).rejects.toThrow('planned');
    const to = await openTestRepository(base);
    const landedBytes = await bytesOf(to);
    expect(landedBytes).toBeGreaterThan(40_000_000);
    const { bytesCopied, copied } = await copySnapshots({ from, to, clock, indexLanded: true });
    expect(bytesCopied).toBeLessThan(54_000_000 - landedBytes + 1_000_000);
    expect((await check({ repository: to, level: 'full', clock })).findings).toEqual([]);
    expect(restoredContents(await restoreTree(to, copied[0]?.to ?? ''))).toEqual(expectedContents(folder(files)));
  });
});

async function spoil(storage: Storage, name: string): Promise<void> {
  const bytes = await storage.get(name);
  await storage.delete(name);
  await storage.put(
    name,
    bytes.map((byte) => byte ^ 1),
  );
}

async function cloneOf(from: Storage): Promise<Storage> {
  const to = openMemoryStorage();
  for await (const { name } of from.list('')) await to.put(name, await from.get(name));
  return to;
}
