import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cutAtMarks } from './dump-lines.ts';

async function* chunksOf(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  const borders = [0, ...[...cuts].toSorted((a, b) => a - b), bytes.length];
  for (let i = 1; i < borders.length; i++) yield Buffer.from(bytes.subarray(borders[i - 1], borders[i]));
}

async function cut(text: string, cuts: readonly number[] = []) {
  const marks: string[] = [];
  const all: Buffer[] = [];
  for await (const piece of cutAtMarks(chunksOf(Buffer.from(text), cuts))) {
    if (piece.kind === 'mark') marks.push(piece.text);
    all.push(piece.bytes);
  }
  return { marks, text: Buffer.concat(all).toString() };
}

const dump = [
  '-- MariaDB dump 10.19',
  "-- CHANGE MASTER TO MASTER_LOG_FILE='bin.000001', MASTER_LOG_POS=3739;",
  '--',
  '-- Current Database: `shop`',
  '--',
  '',
  '-- Table structure for table `a``b`',
  'CREATE TABLE t (a int);',
  "INSERT INTO t VALUES (1,'\\n-- Table structure for table `x`'), -- Table structure for table `y`",
  ' -- Table structure for table `z`',
  '-',
  '-- ',
  '-- Dumping data for table `a``b`',
  '-- Dump completed',
].join('\n');

const expected = [
  "-- CHANGE MASTER TO MASTER_LOG_FILE='bin.000001', MASTER_LOG_POS=3739;",
  '-- Current Database: `shop`',
  '-- Table structure for table `a``b`',
  '-- Dump completed',
];

test('marks are whole lines at the beginning of a line, however the dump is cut; no byte is lost', async () => {
  expect(await cut(dump)).toEqual({ marks: expected, text: dump });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(Buffer.byteLength(dump)), { maxLength: 40 }), async (cuts) => {
      expect(await cut(dump, cuts)).toEqual({ marks: expected, text: dump });
    }),
  );
  const everyByte = Array.from({ length: dump.length }, (_, i) => i);
  expect(await cut(dump, everyByte)).toEqual({ marks: expected, text: dump });
});

test('a line that is longer than any mark is none, and is not held', async () => {
  const long = `-- Table structure for table ${'x'.repeat(100_000)}\n-- Dump completed\n`;
  expect(await cut(long, [5000, 50_000])).toEqual({ marks: ['-- Dump completed'], text: long });
});

test('nothing at all', async () => {
  expect(await cut('')).toEqual({ marks: [], text: '' });
});
