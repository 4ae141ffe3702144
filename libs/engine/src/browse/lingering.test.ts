import { describe, expect, it, vi } from 'vitest';
import { Lingering } from './lingering.ts';

const { signal } = new AbortController();

function counted(lingerMs: number, open: () => Promise<number> = async () => 1) {
  let [openCount, closeCount] = [0, 0];
  const lingering = new Lingering<number>({
    open: async () => {
      openCount++;
      return await open();
    },
    close: async () => {
      closeCount++;
    },
    lingerMs,
  });
  return { lingering, counts: () => [openCount, closeCount] };
}

describe('what is shared', () => {
  it('is opened once for all who use it at once, and closed a while after the last', async () => {
    vi.useFakeTimers();
    try {
      const { lingering, counts } = counted(100);
      const uses = await Promise.all([lingering.use(signal), lingering.use(signal)]);
      uses[0][Symbol.dispose]();
      uses[0][Symbol.dispose]();
      await vi.advanceTimersByTimeAsync(1000);
      expect(counts()).toEqual([1, 0]);
      uses[1][Symbol.dispose]();
      await vi.advanceTimersByTimeAsync(50);
      const again = await lingering.use(signal);
      await vi.advanceTimersByTimeAsync(1000);
      expect(counts()).toEqual([1, 0]);
      again[Symbol.dispose]();
      await vi.advanceTimersByTimeAsync(100);
      expect(counts()).toEqual([1, 1]);
      await lingering.use(signal);
      expect(counts()).toEqual([2, 1]);
      await lingering[Symbol.asyncDispose]();
      expect(counts()).toEqual([2, 2]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('is opened anew after it could not be opened, or was dropped', async () => {
    let failures = 1;
    const { lingering, counts } = counted(1000, async () => {
      if (failures-- > 0) throw new Error('not this time');
      return 7;
    });
    const both = await Promise.allSettled([lingering.use(signal), lingering.use(signal)]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect((await lingering.use(signal)).value).toBe(7);
    lingering.drop(7);
    await lingering.use(signal);
    expect(counts()).toEqual([3, 1]);
    await lingering[Symbol.asyncDispose]();
    expect(counts()).toEqual([3, 2]);
  });

  it('is not waited for after an abort', async () => {
    const { lingering } = counted(1000, () => new Promise(() => {}));
    const given = new AbortController();
    const use = lingering.use(given.signal);
    given.abort(new Error('given up'));
    await expect(use).rejects.toThrow('given up');
  });
});
