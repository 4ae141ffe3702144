import { hashOf } from '@holdfast/restic-format/object-id';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assertSubset, choosePacks, type CheckSubset } from './check-subset.ts';
import { check } from './checker.ts';
import { archiveTree, createTestRepository, impatientClock as clock, noise } from './testing/test-repository.ts';

const packIds = Array.from({ length: 500 }, (_, nth) => hashOf(Buffer.of(nth & 255, nth >> 8)));
const sizes = new Map(packIds.map((id, nth) => [id, 1000 + nth]));

describe('a subset of the packs', () => {
  it('by parts reads all in the end, and none twice', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 256 }), (of) => {
        const parts = Array.from({ length: of }, (_, nth) => choosePacks(packIds, sizes, { part: nth + 1, of }, Math.random));
        expect(parts.flat().toSorted()).toEqual(packIds.toSorted());
      }),
      { numRuns: 20 },
    );
  });

  it('by percent and by size is as large as it was asked for, and another one each time', () => {
    for (const [percent, count] of [
      [10, 50],
      [100, 500],
      [0.01, 1],
    ] as const) {
      const chosen = choosePacks(packIds, sizes, { percent }, Math.random);
      expect(new Set(chosen).size).toBe(count);
    }
    const bySize = choosePacks(packIds, sizes, { sizeBytes: 100_000 }, Math.random);
    const total = bySize.reduce((sum, id) => sum + (sizes.get(id) ?? 0), 0);
    expect(total).toBeGreaterThanOrEqual(100_000);
    expect(total).toBeLessThan(102_000);
    expect(choosePacks(packIds, sizes, { percent: 10 }, Math.random)).not.toEqual(
      choosePacks(packIds, sizes, { percent: 10 }, Math.random),
    );
    expect(choosePacks([], sizes, { percent: 10 }, Math.random)).toEqual([]);
  });

  it.each<CheckSubset>([
    { part: 0, of: 5 },
    { part: 6, of: 5 },
    { part: 1.5, of: 5 },
    { part: 1, of: 257 },
    { percent: 0 },
    { percent: 101 },
    { percent: Number.NaN },
    { sizeBytes: 0 },
  ])('cannot be %j', (subset) => {
    expect(() => assertSubset(subset)).toThrow('no packs can be chosen');
  });

  it('is what a check reads, and the whole structure besides', async () => {
    const repository = await createTestRepository();
    for (let nth = 0; nth < 6; nth++) {
      await archiveTree(repository, { data: { type: 'dir', entries: { [`f${nth}`]: { type: 'file', bytes: noise(600_000, nth) } } } });
    }
    const all = await check({ repository, level: 'full', clock });
    const parts = [];
    for (let part = 1; part <= 4; part++) parts.push(await check({ repository, level: 'full', clock, subset: { part, of: 4 } }));
    expect(parts.reduce((sum, { packsChecked }) => sum + packsChecked, 0)).toBe(all.packsChecked);
    for (const { findings, treesChecked, packsChecked } of parts) {
      expect(findings).toEqual([]);
      expect(treesChecked).toBe(all.treesChecked);
      expect(packsChecked).toBeLessThan(all.packsChecked);
    }
    expect(await check({ repository, level: 'checksum', clock, subset: { sizeBytes: 1 } })).toMatchObject({
      packsChecked: 1,
      findings: [],
    });
    await expect(check({ repository, level: 'full', clock, subset: { percent: -1 } })).rejects.toThrow('no packs');

    // One that is gone is missed, read or not.
    for await (const { name } of repository.storage.list('data/')) await repository.storage.delete(name);
    const { findings } = await check({ repository, level: 'checksum', clock, subset: { part: 1, of: 2 } });
    expect(findings.map(({ kind }) => kind)).toEqual(Array.from({ length: all.packsChecked }, () => 'pack_missing'));
  });
});
