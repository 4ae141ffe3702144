import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FileCheck, type BadPage, type CheckedFile } from './file-check.ts';
import { pageSizeBytes } from './page-checksum.ts';
import { openChunkInspector } from './piece-inspector.ts';
import { relationFile } from './relation-file.ts';

const startLsn = 0x2_0000_1000n;
const inspector = openChunkInspector();

test('the checksum is what the source of PostgreSQL says, word by word', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: pageSizeBytes, maxLength: pageSizeBytes }), fc.nat(131_071), (bytes, block) => {
      const content = Uint8Array.from(bytes);
      // Old, and used.
      content.set([0, 0, 0, 0, 1, 0, 0, 0]);
      content.set([1], 14);
      content.set([0, 0], 8);
      const expected = slowChecksum(content, block);
      const head = incrementalHead([block]);
      const [bad] = verify('base/5/INCREMENTAL.16384', Buffer.concat([head, content]), [pageSizeBytes]);
      expect(bad).toEqual({ file: 'base/5/INCREMENTAL.16384', block, expected, found: 0 });
    }),
    { numRuns: 10 },
  );
});

test('bad pages are told by block, wherever the file is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 9_000 }), { minLength: 1 }),
      (isBad, steps) => {
        const pages = isBad.map((bad, index) => page(131_072 * 2 + index, { isBad: bad }));
        const found = verify('base/5/16384.2', Buffer.concat(pages), steps);
        expect(found.map(({ file, block }) => [file, block])).toEqual(
          isBad.flatMap((bad, index) => (bad ? [['base/5/16384.2', 131_072 * 2 + index]] : [])),
        );
      },
    ),
  );
});

test('pages that say nothing: never used, or written since the backup began', () => {
  const pages = [
    page(0, { upper: 0, isBad: true }),
    page(1, { lsn: startLsn, isBad: true }),
    page(2, { lsn: 0x3_0000_0000n, isBad: true }),
  ];
  expect(verify('base/5/16384', Buffer.concat(pages), [pageSizeBytes])).toEqual([]);
  const older = [page(0, { lsn: startLsn - 1n, isBad: true }), page(1, { lsn: 0x1_ffff_ffffn, isBad: true })];
  expect(verify('base/5/16384', Buffer.concat(older), [pageSizeBytes]).map(({ block }) => block)).toEqual([0, 1]);
});

test('changed blocks of an incremental backup are told by their own numbers', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(131_071), { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 9_000 }), { minLength: 1 }),
      (blocks, steps) => {
        const head = incrementalHead(blocks);
        const pages = blocks.map((block, index) => page(131_072 + block, { isBad: index % 2 === 0 }));
        const found = verify('base/5/INCREMENTAL.16384.1', Buffer.concat([head, ...pages]), steps);
        expect(found.map(({ block }) => block)).toEqual(blocks.filter((_, index) => index % 2 === 0).map((block) => 131_072 + block));
      },
    ),
  );
});

test('whatever the pieces are, the sum and the pages are those of the file', () => {
  const pages = Array.from({ length: 70 }, (_, block) => page(block, { isBad: block % 9 === 0 }));
  const content = Buffer.concat([...pages, Buffer.from('less than a page')]);
  const whole = checked('base/5/16384', content, [content.length], 100);
  expect(whole).toMatchObject({ sizeBytes: content.length, checkedPageCount: 70 });
  expect(whole.badPages.map(({ block }) => block)).toEqual([0, 9, 18, 27, 36, 45, 54, 63]);
  for (const pagesPerPiece of [1, 3, 32, 33]) expect(checked('base/5/16384', content, [1_000], pagesPerPiece)).toEqual(whole);
  const other = Buffer.from(content);
  other[400_000] = (other[400_000] ?? 0) ^ 1;
  expect(checked('base/5/16384', other, [1_000]).crc).not.toBe(whole.crc);
});

test('a head of many blocks, or of none that can be', () => {
  const blocks = Array.from({ length: 5_000 }, (_, nth) => nth * 2);
  const pages = blocks.slice(0, 40).map((block) => page(block, { isBad: block === 6 }));
  const content = Buffer.concat([incrementalHead(blocks), ...pages]);
  expect(checked('base/5/INCREMENTAL.16384', content, [700])).toMatchObject({ checkedPageCount: 40, badPages: [{ block: 6 }] });
  content.writeUInt32LE(0, 0);
  expect(checked('base/5/INCREMENTAL.16384', content, [700])).toMatchObject({ checkedPageCount: 0 });
});

test('a piece that begins within a page is a defect of whoever cut it', () => {
  const check = new FileCheck({ path: 'base/5/16384', startLsn, arePagesChecked: true });
  const pieces = [Buffer.alloc(100), page(0)].map((piece) => ({
    sizeBytes: piece.length,
    report: inspector.inspect(piece, check.subject),
  }));
  expect(() => check.settle(pieces)).toThrow(expect.objectContaining({ code: 'internal' }));
});

test.each([
  ['base/5/16384', 0, false],
  ['base/5/16384.3', 393_216, false],
  ['base/5/16384_fsm', 0, false],
  ['base/5/16384_vm.1', 131_072, false],
  ['base/5/16384_init', 0, false],
  ['global/1260', 0, false],
  ['pg_tblspc/16400/PG_15_202209061/5/16401', 0, false],
  ['base/5/INCREMENTAL.16384.1', 131_072, true],
])('%s holds pages', (path, firstBlock, isIncremental) => expect(relationFile(path)).toEqual({ firstBlock, isIncremental }));

test.each([
  'global/pg_control',
  'base/5/pg_filenode.map',
  'base/5/PG_VERSION',
  'PG_VERSION',
  'base/5/t3_16384',
  'pg_xact/0000',
  'base/5/16384.x',
  'pg_wal/000000010000000000000001',
])('%s holds none', (path) => expect(relationFile(path)).toBeNull());

function verify(file: string, content: Buffer, steps: readonly number[]): readonly BadPage[] {
  return checked(file, content, steps).badPages;
}

/** The file as it passes in such steps, and is inspected in pieces of so many pages. */
function checked(path: string, content: Buffer, steps: readonly number[], pagesPerPiece = 2): CheckedFile {
  const check = new FileCheck({ path, startLsn, arePagesChecked: true });
  for (let at = 0, step = 0; at < content.length; step++) {
    const end = at + (steps[step % steps.length] ?? 1);
    check.pass(content.subarray(at, end));
    at = end;
  }
  const pieceBytes = pagesPerPiece * pageSizeBytes;
  const pieces = Array.from({ length: Math.ceil(content.length / pieceBytes) }, (_, nth) => {
    const piece = content.subarray(nth * pieceBytes, (nth + 1) * pieceBytes);
    return { sizeBytes: piece.length, report: inspector.inspect(piece, check.subject) };
  });
  return check.settle(pieces);
}

function incrementalHead(blocks: readonly number[]): Buffer {
  const length = 12 + 4 * blocks.length;
  const head = Buffer.alloc(blocks.length === 0 ? length : Math.ceil(length / pageSizeBytes) * pageSizeBytes);
  head.writeUInt32LE(0xd3ae_1f0d, 0);
  head.writeUInt32LE(blocks.length, 4);
  blocks.forEach((block, index) => head.writeUInt32LE(block, 12 + 4 * index));
  return head;
}

function page(block: number, { lsn = 1n, upper = 8_000, isBad = false }: { lsn?: bigint; upper?: number; isBad?: boolean } = {}): Buffer {
  const bytes = Buffer.alloc(pageSizeBytes);
  for (let at = 24; at < pageSizeBytes; at += 4) bytes.writeUInt32LE(Math.imul(at + block, 2_654_435_761) >>> 0, at);
  bytes.writeUInt32LE(Number(lsn >> 32n), 0);
  bytes.writeUInt32LE(Number(lsn & 0xffff_ffffn), 4);
  bytes.writeUInt16LE(upper, 14);
  const checksum = slowChecksum(bytes, block);
  // Not a flipped bit elsewhere: one in 65,535 pages keeps its checksum then.
  bytes.writeUInt16LE(isBad ? (checksum % 65_535) + 1 : checksum, 8);
  return bytes;
}

/** checksum_impl.h as it stands, slowly. */
function slowChecksum(bytes: Uint8Array, block: number): number {
  const data = Buffer.from(bytes);
  data.writeUInt16LE(0, 8);
  const mix = (sum: bigint, value: bigint): bigint => {
    const mixed = sum ^ value;
    return ((mixed * 16_777_619n) & 0xffff_ffffn) ^ (mixed >> 17n);
  };
  const sums = [
    0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c, 0xf8d4474f, 0xe39eb970, 0x42c6ae16,
    0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb, 0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2,
    0x304a0979, 0x85aa43d4, 0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
  ].map(BigInt);
  for (let row = 0; row < 66; row++) {
    for (let lane = 0; lane < 32; lane++)
      sums[lane] = mix(sums[lane] ?? 0n, row < 64 ? BigInt(data.readUInt32LE(row * 128 + lane * 4)) : 0n);
  }
  const joined = sums.reduce((all, sum) => all ^ sum, 0n) ^ BigInt(block);
  return Number(joined % 65_535n) + 1;
}
