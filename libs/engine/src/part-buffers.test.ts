import { expect, test } from 'vitest';
import { PartBuffers } from './part-buffers.ts';

test('memory that was given back is used again, at any length that it has', () => {
  const buffers = new PartBuffers(100);
  const [first, second] = [buffers.take(100), buffers.take(10)];
  expect(first.buffer).not.toBe(second.buffer);
  expect([first.byteLength, second.byteLength]).toEqual([100, 10]);
  buffers.giveBack(second);
  const third = buffers.take(50);
  expect(third.byteLength).toBe(50);
  expect(third.buffer).toBe(second.buffer);
});

test('a part that is longer has memory of its own, which is not kept', () => {
  const buffers = new PartBuffers(100);
  const long = buffers.take(101);
  expect(long.byteLength).toBe(101);
  buffers.giveBack(long);
  expect(buffers.take(100).buffer).not.toBe(long.buffer);
  expect(buffers.take(101).buffer).not.toBe(long.buffer);
});
