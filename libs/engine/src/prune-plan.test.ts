import type { ObjectId } from '@holdfast/restic-format/object-id';
import { packTailSize, type PackedBlob } from '@holdfast/restic-format/pack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBlobIndex } from './blob-index.ts';
import { planPrune, type PrunePlan, type PrunePlanInput } from './prune-plan.ts';

interface PlannedPack {
  readonly type: 'data' | 'tree';
  readonly usedBytes: number;
  readonly unusedBytes: number;
}

const idOf = (nth: number): ObjectId => nth.toString(16).padStart(64, '0');

/** Packs of two blobs, one in use and one not, where they have bytes. */
function inputOf(packs: readonly PlannedPack[], limits: Pick<PrunePlanInput, 'maxUnused' | 'maxRepackBytes'>): PrunePlanInput {
  const index = createBlobIndex();
  const packSizes = new Map<ObjectId, number>();
  const used: number[] = [];
  for (const [nth, { type, usedBytes, unusedBytes }] of packs.entries()) {
    const blobs: PackedBlob[] = [];
    for (const [bytes, isUsed] of [
      [usedBytes, true],
      [unusedBytes, false],
    ] as const) {
      if (bytes === 0) continue;
      const offset = blobs.reduce((sum, blob) => sum + blob.length, 0);
      if (isUsed) used.push(index.entryCount + blobs.length);
      blobs.push({ id: idOf(1_000_000 + nth * 2 + blobs.length), type, offset, length: bytes });
    }
    index.add({ id: idOf(nth + 1), blobs });
    packSizes.set(
      idOf(nth + 1),
      blobs.reduce((sum, blob) => sum + blob.length, packTailSize(blobs)),
    );
  }
  const marks = new Uint8Array(index.entryCount);
  for (const entry of used) marks[entry] = 1;
  return { index, indexFiles: [], marks, packSizes, ...limits };
}

const repackedOf = (plan: PrunePlan): number[] => plan.repacked.map(({ packId }) => Number.parseInt(packId, 16) - 1);
const data = (usedBytes: number, unusedBytes: number): PlannedPack => ({ type: 'data', usedBytes, unusedBytes });
const tree = (usedBytes: number, unusedBytes: number): PlannedPack => ({ type: 'tree', usedBytes, unusedBytes });
const everything = { maxUnused: { percent: 0 }, maxRepackBytes: Infinity } as const;

describe('what is repacked', () => {
  it('frees most for what it costs first, trees before data', () => {
    const packs = [data(900, 100), data(100, 900), tree(900, 100), data(500, 500), data(0, 1000), data(1000, 0)];
    const plan = planPrune(inputOf(packs, everything));
    expect(repackedOf(plan)).toEqual([2, 1, 3, 0]);
    expect(plan.deleted).toEqual([idOf(5)]);
    expect(plan.bytesUnusedKept).toBe(0);
  });

  it('leaves as much unused as it may: a share of the rest, bytes, or all of it', () => {
    const packs = [data(900, 100), data(100, 900), data(9000, 0)];
    const planOf = (maxUnused: PrunePlanInput['maxUnused']) => planPrune(inputOf(packs, { maxUnused, maxRepackBytes: Infinity }));
    expect(repackedOf(planOf({ percent: 5 }))).toEqual([1]);
    expect(repackedOf(planOf({ percent: 10 }))).toEqual([]);
    expect(repackedOf(planOf({ bytes: 100 }))).toEqual([1]);
    expect(repackedOf(planOf({ bytes: 99 }))).toEqual([1, 0]);
    expect(repackedOf(planOf({ bytes: 1000 }))).toEqual([]);
    expect(repackedOf(planOf({ percent: 100 }))).toEqual([]);
    expect(repackedOf(planOf({ bytes: Infinity }))).toEqual([]);
  });

  it('moves no more than it may, passing over what does not fit', () => {
    const packs = [data(10, 5000), data(100, 900), data(500, 500)];
    expect(repackedOf(planPrune(inputOf(packs, { maxUnused: { bytes: 0 }, maxRepackBytes: 2500 })))).toEqual([1, 2]);
    expect(repackedOf(planPrune(inputOf(packs, { maxUnused: { bytes: 0 }, maxRepackBytes: 0 })))).toEqual([]);
  });

  it('joins small packs when there are enough of them', () => {
    const few = Array.from({ length: 9 }, () => data(1000, 0));
    expect(repackedOf(planPrune(inputOf(few, everything)))).toEqual([]);
    expect(repackedOf(planPrune(inputOf([...few, data(1000, 0)], everything)))).toHaveLength(10);
    expect(repackedOf(planPrune(inputOf([...few, tree(1000, 0)], everything)))).toEqual([]);
    expect(repackedOf(planPrune(inputOf([...few, data(5_000_000, 0)], everything)))).toEqual([]);
    expect(repackedOf(planPrune(inputOf([...few, ...few], { ...everything, maxRepackBytes: 5500 })))).toHaveLength(5);
    expect(repackedOf(planPrune(inputOf([...few, ...few], { ...everything, maxUnused: { percent: 100 } })))).toEqual([]);
  });

  it('keeps every used blob, and its limits, whatever the packs are', () => {
    const pack = fc.record({ type: fc.constantFrom('data', 'tree'), usedBytes: fc.nat(10_000), unusedBytes: fc.nat(10_000) });
    const packs = fc.array(
      pack.filter(({ usedBytes, unusedBytes }) => usedBytes + unusedBytes > 0),
      { maxLength: 30 },
    );
    const maxUnused = fc.oneof(fc.record({ percent: fc.nat(100) }), fc.record({ bytes: fc.nat(50_000) }));
    fc.assert(
      fc.property(packs, maxUnused, fc.oneof(fc.nat(100_000), fc.constant(Infinity)), (planned, limit, maxRepackBytes) => {
        const input = inputOf(planned, { maxUnused: limit, maxRepackBytes });
        const plan = planPrune(input);
        const deleted = new Set(plan.deleted);
        const moved = new Map(plan.repacked.map(({ packId, usedEntries }) => [packId, usedEntries]));
        for (const { packId, entries } of input.index.packs()) {
          const usedHere = entries.filter((entry) => input.marks[entry] === 1);
          if (deleted.has(packId)) expect(usedHere).toEqual([]);
          else if (moved.has(packId)) expect(moved.get(packId)).toEqual(usedHere);
        }
        const movedBytes = [...moved.keys()].reduce((sum, packId) => sum + (input.packSizes.get(packId) ?? 0), 0);
        expect(movedBytes).toBeLessThanOrEqual(maxRepackBytes);
        if (maxRepackBytes !== Infinity) return;
        const usedBytes = planned.reduce((sum, one) => sum + one.usedBytes, 0);
        const mayStay =
          'bytes' in limit ? limit.bytes : limit.percent === 100 ? Infinity : (usedBytes * limit.percent) / (100 - limit.percent);
        expect(plan.bytesUnusedKept).toBeLessThanOrEqual(mayStay);
      }),
      { numRuns: 300 },
    );
  });
});
