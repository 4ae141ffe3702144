import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, test } from 'vitest';
import { createRunsInHand } from './runs-in-hand.ts';

const claim = (id: string) => ({ kind: 'backup', id, attempt: 1, fencingNumber: 1n }) as const;
const reason = new HoldfastError('run_cancelled', 'stop');

describe('runs in hand', () => {
  test('are found while they are worked on', () => {
    const inHand = createRunsInHand();
    const { release } = inHand.add(claim('a'));
    expect([inHand.has('backup', 'a'), inHand.has('verify', 'a')]).toEqual([true, false]);
    expect(inHand.claims()).toEqual([claim('a')]);
    release();
    expect(inHand.has('backup', 'a')).toBe(false);
  });

  test('abort for the first reason', () => {
    const inHand = createRunsInHand();
    const { signal } = inHand.add(claim('a'));
    expect(inHand.abort('backup', 'a', reason)).toBe(true);
    inHand.abortAll(new HoldfastError('run_interrupted', 'the end'));
    expect(signal.reason).toBe(reason);
    expect(inHand.abort('backup', 'b', reason)).toBe(false);
  });

  test('tell when the last has ended', async () => {
    const inHand = createRunsInHand();
    await inHand.empty();
    const releases = ['a', 'b'].map((id) => inHand.add(claim(id)).release);
    let isEmpty = false;
    const waiting = inHand.empty().then(() => (isEmpty = true));
    releases[0]?.();
    await Promise.resolve();
    expect(isEmpty).toBe(false);
    releases[1]?.();
    await waiting;
    expect(isEmpty).toBe(true);
  });
});
