import fc from 'fast-check';
import { expect, test } from 'vitest';
import { rowsOf } from './row-stream.ts';

async function* cut(bytes: Buffer, lengths: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const length = lengths[index % lengths.length] ?? 1;
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

const collect = async (content: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const parts: Uint8Array[] = [];
  for await (const part of rowsOf(content, () => {})) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
};

test('all but the last line comes out, however the file is cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 300 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      async (rows, lengths) => {
        expect(await collect(cut(Buffer.concat([rows, Buffer.from('\\.\n')]), lengths))).toEqual(Buffer.from(rows));
      },
    ),
  );
});

test.each(['', '\\.', '1\ta\n', '1\\.\n\n'])('a file that ends otherwise is damaged: %j', async (text) => {
  await expect(collect(cut(Buffer.from(text), [2]))).rejects.toMatchObject({ code: 'repository_damaged' });
});
