import { hashOf } from '@holdfast/restic-format/object-id';
import type { PackedBlob } from '@holdfast/restic-format/pack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBlobIndex } from './blob-index.ts';

const id = (text: string | number) => hashOf(Buffer.from(String(text)));

describe('blob index', () => {
  it('finds what was added, as a map would, also when ids begin alike', () => {
    // The last digits differ, the first ones decide the slot: all of them collide.
    const ids = fc.integer({ min: 0, max: 30 }).map((nth) => 'a'.repeat(62) + nth.toString(16).padStart(2, '0'));
    const blob = fc.record({ id: ids, type: fc.constantFrom('data' as const, 'tree' as const), length: fc.integer({ min: 33, max: 99 }) });
    fc.assert(
      fc.property(fc.array(fc.array(blob, { maxLength: 8 }), { maxLength: 12 }), (packs) => {
        const index = createBlobIndex();
        const expected = new Map<string, PackedBlob & { packId: string }>();
        for (const [nth, blobs] of packs.entries()) {
          const packId = id(nth);
          const placed = blobs.map((one, at) => ({ ...one, offset: at * 100 }));
          index.add({ id: packId, blobs: placed });
          index.add({ id: packId, blobs: placed });
          for (const one of placed) if (!expected.has(one.type + one.id)) expected.set(one.type + one.id, { ...one, packId });
        }
        expect(index.entryCount).toBe(packs.flat().length);
        for (const one of expected.values()) expect(index.lookup(one.type, one.id)).toEqual(one);
        const listed = [...index.packs()].flatMap(({ packId, entries }) => entries.map((entry) => ({ packId, at: index.at(entry) })));
        expect(listed).toHaveLength(index.entryCount);
        expect(listed.every(({ packId, at }) => at.packId === packId)).toBe(true);
      }),
    );
  });

  it('grows, and keeps which blobs are compressed', () => {
    const index = createBlobIndex();
    const count = 50_000;
    for (let pack = 0; pack < count / 1000; pack++) {
      const blobs = Array.from({ length: 1000 }, (_, nth) => ({
        id: id(pack * 1000 + nth),
        type: 'data' as const,
        offset: nth * 50,
        length: 50,
        ...(nth % 2 === 0 ? { uncompressedLength: 70 } : {}),
      }));
      index.add({ id: id(`pack ${pack}`), blobs });
    }
    expect(index.entryCount).toBe(count);
    expect(index.lookup('data', id(23_456))).toMatchObject({ offset: 456 * 50, uncompressedLength: 70 });
    expect(index.lookup('data', id(23_457))).not.toHaveProperty('uncompressedLength');
    expect(index.has('tree', id(23_456))).toBe(false);
    expect(index.find('data', id(count))).toBe(-1);
  });
});
