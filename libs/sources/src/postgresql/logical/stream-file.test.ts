import { expect, test } from 'vitest';
import { StreamFile, textContent, type FileContent } from './stream-file.ts';

const header = Buffer.from('COPY t FROM stdin;\n');
const rows = Buffer.from('one\ntwo\nthree\n');

/** The second time the same memory holds other rows. */
async function* tableContent(): FileContent {
  const bytes = Buffer.from(rows);
  yield header;
  yield { bytes, chosenEnds: [4, 14] };
  yield { bytes: bytes.fill('x', 0, 3), chosenEnds: [8] };
  yield Buffer.from('\\.\n');
}

async function readAll(file: StreamFile, stepBytes: number): Promise<string> {
  const parts: string[] = [];
  for (let position = 0; ;) {
    const buffer = new Uint8Array(stepBytes);
    const read = await file.read(buffer, position);
    if (read === 0) return parts.join('');
    parts.push(Buffer.from(buffer.subarray(0, read)).toString('latin1'));
    position += read;
  }
}

test.each([1, 5, 1000])('chosen ends are places in the file, with %i bytes read at a time', async (stepBytes) => {
  const outcomes: object[] = [];
  const file = new StreamFile(tableContent(), { hasRows: true, onClose: (outcome) => outcomes.push(outcome) });
  const text = await readAll(file, stepBytes);
  expect(text).toBe(`${header.toString()}${rows.toString()}xxx\ntwo\nthree\n\\.\n`);
  const atRows = header.length;
  expect(file.chosenEnds).toEqual([atRows + 4, atRows + 14, atRows + rows.length + 8]);
  await file.close();
  expect(outcomes).toEqual([{ bytes: text.length, isWhole: true }]);
});

test('a text has none to be chosen: it is cut by content', async () => {
  const file = new StreamFile(textContent('CREATE TABLE t ();\n'), { hasRows: false, onClose: () => {} });
  expect(await readAll(file, 7)).toBe('CREATE TABLE t ();\n');
  expect(file.chosenEnds).toBeUndefined();
  const wrong = new StreamFile(tableContent(), { hasRows: false, onClose: () => {} });
  await expect(readAll(wrong, 1000)).rejects.toMatchObject({ code: 'internal' });
});
