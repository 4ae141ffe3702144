import { expect, test } from 'vitest';
import { readBounded } from './read-bounded.ts';

async function* chunks(...all: Buffer[]): AsyncGenerator<Uint8Array> {
  yield* all;
}

test('joins before it decodes, and takes no more than it may', async () => {
  const euro = Buffer.from('€');
  expect(await readBounded('a', chunks(euro.subarray(0, 1), euro.subarray(1)), 3)).toBe('€');
  expect(await readBounded('a', chunks(), 0)).toBe('');
  await expect(readBounded('/manifest.json', chunks(euro, euro), 5)).rejects.toThrow(
    expect.objectContaining({ code: 'repository_damaged', message: '/manifest.json is larger than any of ours' }),
  );
});
