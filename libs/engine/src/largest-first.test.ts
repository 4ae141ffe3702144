import { expect, it } from 'vitest';
import { LargestFirst } from './largest-first.ts';

it('begins the largest of those who wait, and no more than there are places', async () => {
  const places = new LargestFirst(2);
  const begun: number[] = [];
  let [running, mostRunning] = [0, 0];
  const work = (size: number) => async (): Promise<number> => {
    begun.push(size);
    mostRunning = Math.max(mostRunning, ++running);
    await new Promise(setImmediate);
    running--;
    return size;
  };
  const sizes = [3, 1, 4, 1, 5, 9, 2, 6];
  expect(await Promise.all(sizes.map((size) => places.run(size, work(size))))).toEqual(sizes);
  expect(begun).toEqual([3, 1, 9, 6, 5, 4, 2, 1]);
  expect(mostRunning).toBe(2);
});

it('gives a place back after a failure', async () => {
  const places = new LargestFirst(1);
  const failing = places.run(1, async () => {
    throw new Error('no');
  });
  const next = places.run(2, async () => 'done');
  await expect(failing).rejects.toThrow('no');
  expect(await next).toBe('done');
});

it('goes through a long queue in its order, by and by', async () => {
  const places = new LargestFirst(1);
  const begun: number[] = [];
  await Promise.all(Array.from({ length: 500 }, (_, size) => places.run(size, async () => void begun.push(size))));
  expect(begun.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, size) => size));
  // The largest has waited until it was among the first.
  expect(begun.indexOf(499)).toBeGreaterThan(400);
});
