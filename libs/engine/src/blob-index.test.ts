import type { IndexedPack } from '@holdfast/restic-format/index-file';
import { scanIndex } from '@holdfast/restic-format/index-scan';
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

  it('takes the columns of a file as it takes its packs, known ones too', () => {
    const [some, more] = [0, 1].map((file) =>
      Array.from({ length: 40 }, (_, pack) => ({
        id: id(`pack ${pack + file * 20}`),
        blobs: Array.from({ length: pack % 7 }, (_blob, nth) => ({
          id: id((pack + file * 20) * 10 + nth),
          type: nth % 3 === 0 ? ('tree' as const) : ('data' as const),
          offset: nth * 50,
          length: 50,
          ...(nth % 2 === 0 ? { uncompressedLength: 70 } : {}),
        })),
      })),
    );
    const files = [some ?? [], more ?? [], some ?? []];
    const [byPacks, byColumns] = [createBlobIndex(), createBlobIndex()];
    for (const packs of files) {
      for (const pack of packs) byPacks.add(pack);
      const columns = scanIndex(Buffer.from(jsonOf(packs)));
      if (columns === null) throw new Error('the scan gave nothing');
      byColumns.addColumns(columns);
    }
    expect([...byColumns.packs()]).toEqual([...byPacks.packs()]);
    for (let entry = 0; entry < byPacks.entryCount; entry++) {
      const blob = byPacks.at(entry);
      expect(byColumns.at(entry)).toEqual(blob);
      expect(byColumns.find(blob.type, blob.id)).toBe(byPacks.find(blob.type, blob.id));
      expect(byColumns.packEndBytes(entry)).toBe(byPacks.packEndBytes(entry));
    }
  });

  it('tells where the last blob of a pack ends, in whatever order they are listed, also when more come', () => {
    const index = createBlobIndex();
    const blobAt = (offset: number) => ({ id: id(`at ${offset}`), type: 'tree' as const, offset, length: 50 });
    index.add({ id: id('pack'), blobs: [blobAt(100), blobAt(300), blobAt(0)] });
    expect(index.packEndBytes(0)).toBe(350);
    index.add({ id: id('pack'), blobs: [blobAt(400), blobAt(350)] });
    expect(index.packEndBytes(0)).toBe(450);
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

/** As in an index file. */
function jsonOf(packs: readonly IndexedPack[]): string {
  const blobs = (pack: IndexedPack) =>
    pack.blobs.map(({ uncompressedLength, ...rest }) =>
      JSON.stringify(uncompressedLength === undefined ? rest : { ...rest, uncompressed_length: uncompressedLength }),
    );
  return `{"packs":[${packs.map((pack) => `{"id":"${pack.id}","blobs":[${blobs(pack).join(',')}]}`).join(',')}]}`;
}
