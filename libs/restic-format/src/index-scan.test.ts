import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCipher, generateMasterKeys } from './cipher.ts';
import { decodeIndexFile, encodeIndexFile, type IndexedPack } from './index-file.ts';
import { scanIndex, type IndexColumns } from './index-scan.ts';
import type { PackedBlob } from './pack.ts';
import { openUnpackedFile } from './unpacked-file.ts';

const cipher = createCipher(generateMasterKeys());
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const blob = fc
  .record({ id, type: fc.constantFrom('data' as const, 'tree' as const), offset: uint32, length: uint32, plain: uint32 })
  .map(({ plain, ...rest }): PackedBlob => (plain % 2 === 0 ? rest : { ...rest, uncompressedLength: plain }));
const packs = fc.array(fc.record({ id, blobs: fc.array(blob, { maxLength: 4 }) }), { maxLength: 4 });

const jsonOf = (content: readonly IndexedPack[]): Uint8Array =>
  openUnpackedFile(encodeIndexFile({ packs: content }, cipher), cipher, 'an index', 2 ** 20);

function asPacks(columns: IndexColumns): IndexedPack[] {
  const { packIds, packStarts, ids, isTree, offsets, lengths, plainLengths } = columns;
  return packIds.map((packId, nth) => {
    const blobs: PackedBlob[] = [];
    for (let at = packStarts[nth] ?? 0; at < (packStarts[nth + 1] ?? 0); at++) {
      blobs.push({
        id: Buffer.from(ids.subarray(at * 32, at * 32 + 32)).toString('hex'),
        type: isTree[at] === 1 ? 'tree' : 'data',
        offset: offsets[at] ?? 0,
        length: lengths[at] ?? 0,
        ...(plainLengths[at] === 0 ? {} : { uncompressedLength: plainLengths[at] ?? 0 }),
      });
    }
    return { id: packId, blobs };
  });
}

describe('scanIndex', () => {
  it('reads what is written', () => {
    fc.assert(
      fc.property(packs, (content) => {
        const columns = scanIndex(jsonOf(content));
        expect(columns && asPacks(columns)).toEqual(content);
      }),
    );
  });

  it('reads a changed file as the parser does, or not at all', () => {
    const change = fc.record({
      at: fc.nat(),
      byte: fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(...Buffer.from('"{}[],:0123456789abcdef'))),
    });
    const cut = fc.option(fc.nat());
    fc.assert(
      fc.property(packs, fc.array(change, { maxLength: 2 }), cut, (content, changes, cutAt) => {
        const json = Uint8Array.from(jsonOf(content)).subarray(0, cutAt === null ? undefined : cutAt);
        for (const { at, byte } of changes) if (json.length > 0) json[at % json.length] = byte;
        const columns = scanIndex(json);
        // The encoding byte of a file that is not compressed is the brace that the JSON begins with.
        if (columns !== null) expect(asPacks(columns)).toEqual(decodeIndexFile(cipher.seal(json), cipher).packs);
      }),
      { numRuns: 2000 },
    );
  });

  it.each(['{"packs":[ ]}', '{"supersedes":[],"packs":[]}', '{"packs":[],"more":1}', '{"packs":null}', '', '[]', '{"packs":[]}\n\n'])(
    'leaves %j to the parser',
    (json) => {
      expect(scanIndex(Buffer.from(json))).toBeNull();
    },
  );
});
