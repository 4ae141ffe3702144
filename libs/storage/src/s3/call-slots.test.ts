import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { CallSlots } from './call-slots.ts';

it('runs so many calls at once, the others in the order in which they came', async () => {
  const slots = new CallSlots(3);
  let [runningCount, mostCount] = [0, 0];
  const begun: number[] = [];
  const call = async (number: number): Promise<number> =>
    slots.run(undefined, async () => {
      begun.push(number);
      mostCount = Math.max(mostCount, (runningCount += 1));
      await sleep(2);
      runningCount -= 1;
      if (number % 5 === 0) throw new Error('five');
      return number;
    });
  const outcomes = await Promise.allSettled(Array.from({ length: 20 }, (_, number) => call(number)));
  expect(mostCount).toBe(3);
  expect(begun).toEqual(Array.from({ length: 20 }, (_, number) => number));
  expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(4);
});

it('lets a call go that is aborted in the line, and loses no slot by it', async () => {
  const slots = new CallSlots(1);
  const holding = Promise.withResolvers<void>();
  const first = slots.run(undefined, () => holding.promise);
  const controller = new AbortController();
  const second = slots.run(controller.signal, async () => 'second');
  const third = slots.run(new AbortController().signal, async () => 'third');
  controller.abort(new Error('stop'));
  await expect(second).rejects.toThrow('stop');
  await expect(slots.run(controller.signal, async () => 'never')).rejects.toThrow('stop');
  holding.resolve();
  await first;
  expect(await third).toBe('third');
  expect(await slots.run(undefined, async () => 'fourth')).toBe('fourth');
});
