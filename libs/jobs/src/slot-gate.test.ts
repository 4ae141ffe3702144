import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createSlotGate } from './slot-gate.ts';

const never = new AbortController().signal;

test('a gate gives as many slots as it has, and the next one to who waits longest', async () => {
  const gate = createSlotGate(2);
  expect([gate.tryAcquire(), await gate.acquire(never), gate.tryAcquire()]).toEqual([true, true, false]);
  const order: string[] = [];
  const waiting = ['first', 'second'].map(async (name) => {
    expect(await gate.acquire(never)).toBe(true);
    order.push(name);
  });
  gate.release();
  await waiting[0];
  expect(order).toEqual(['first']);
  // The slot went to who waited, not to who comes now.
  expect(gate.tryAcquire()).toBe(false);
  gate.release();
  await Promise.all(waiting);
  expect(order).toEqual(['first', 'second']);
  gate.release();
  gate.release();
  expect([gate.tryAcquire(), gate.tryAcquire(), gate.tryAcquire()]).toEqual([true, true, false]);
});

test('who gives up waiting takes no slot and leaves the others theirs', async () => {
  const gate = createSlotGate(1);
  const gone = new AbortController();
  expect(gate.tryAcquire()).toBe(true);
  const [givingUp, waiting] = [gate.acquire(gone.signal), gate.acquire(never)];
  gone.abort();
  expect(await givingUp).toBe(false);
  expect(await gate.acquire(gone.signal)).toBe(false);
  gate.release();
  expect(await waiting).toBe(true);
});

test('a slot that is handed over as its taker gives up is not lost', async () => {
  const gate = createSlotGate(1);
  for (let round = 0; round < 50; round++) {
    const gone = new AbortController();
    expect(gate.tryAcquire()).toBe(true);
    const waiting = gate.acquire(gone.signal);
    if (round % 2 === 0) gate.release();
    gone.abort();
    if (round % 2 === 1) gate.release();
    if (await waiting) gate.release();
    await delay(0);
  }
  expect([gate.tryAcquire(), gate.tryAcquire()]).toEqual([true, false]);
});
