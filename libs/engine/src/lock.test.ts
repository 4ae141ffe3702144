import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { lockName } from '@holdfast/restic-format/layout';
import { encodeLockFile } from '@holdfast/restic-format/lock-file';
import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import { openFaultyStorage } from '@holdfast/storage/testing/faulty-storage';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Clock } from './clock.ts';
import { currentHolder, type LockHolder } from './lock-holder.ts';
import { acquireLock, lostAfterMs, refreshIntervalMs, settleMs, withSharedLock } from './lock.ts';
import { saveNamedFile } from './named-file.ts';
import type { Repository } from './repository.ts';
import { createTestRepository, impatientClock as clock } from './testing/test-repository.ts';

const isLocked = (error: unknown): boolean => isHoldfastError(error, 'repository_locked');

async function lockNames(repository: Repository): Promise<string[]> {
  return (await Array.fromAsync(repository.storage.list('locks/'))).map(({ name }) => name);
}

async function leaveLock(repository: Repository, holder: Partial<LockHolder>, exclusive: boolean): Promise<void> {
  const { hostname, username, pid, since } = { ...currentHolder(), since: new Date(), ...holder };
  const file = { timeNs: BigInt(since.getTime()) * 1_000_000n, exclusive, hostname, username, pid };
  await saveNamedFile(repository, lockName, encodeLockFile(file, repository.cipher));
}

/** A clock whose time only moves when told; sleepers wake when it passes them. */
function handClock(): Clock & { advance(durationMs: number): Promise<void> } {
  let nowMs = 1_700_000_000_000;
  let sleepers: { untilMs: number; wake: () => void }[] = [];
  return {
    now: () => new Date(nowMs),
    sleep: (durationMs, signal) =>
      new Promise((resolve, reject) => {
        if (durationMs <= settleMs) return resolve();
        sleepers.push({ untilMs: nowMs + durationMs, wake: resolve });
        signal?.addEventListener('abort', () => reject(signal.reason as Error));
      }),
    async advance(durationMs) {
      nowMs += durationMs;
      const due = sleepers.filter(({ untilMs }) => untilMs <= nowMs);
      sleepers = sleepers.filter(({ untilMs }) => untilMs > nowMs);
      for (const { wake } of due) wake();
      for (let turns = 0; turns < 20; turns++) await turn();
    },
  };
}

describe('lock', () => {
  it('is shared with shared ones and with no exclusive one, and names who holds it', async () => {
    const repository = await createTestRepository();
    await using first = await acquireLock(repository, { exclusive: false, clock });
    await using second = await acquireLock(repository, { exclusive: false, clock });
    expect(first.lost.aborted || second.lost.aborted).toBe(false);
    const exclusive = acquireLock(repository, { exclusive: true, clock });
    await expect(exclusive).rejects.toThrow(String(process.pid));
    await expect(exclusive).rejects.toMatchObject({
      code: 'repository_locked',
      retry: 'later',
      context: { pid: process.pid, exclusive: false },
    });
    await first.release();
    await second.release();
    await using last = await acquireLock(repository, { exclusive: true, clock });
    await expect(acquireLock(repository, { exclusive: false, clock })).rejects.toSatisfy(isLocked);
    await last.release();
    expect(await lockNames(repository)).toEqual([]);
  });

  it('is given to one of many that want it exclusively at once, and to all in turn when they wait', async () => {
    const repository = await createTestRepository();
    let holders = 0;
    let most = 0;
    const use = async (): Promise<void> => {
      await using lock = await acquireLock(repository, { exclusive: true, clock, waitMs: 20_000 });
      if (lock.exclusive) holders++;
      most = Math.max(most, holders);
      await turn();
      holders--;
    };
    await Promise.all(Array.from({ length: 4 }, use));
    expect(most).toBe(1);
  });

  it('removes stale ones: old, of a dead process, of a former process with our pid', async () => {
    const repository = await createTestRepository();
    await leaveLock(repository, { hostname: 'elsewhere', since: new Date(Date.now() - 31 * 60_000) }, true);
    await leaveLock(repository, { pid: 2 ** 22 + 1 }, true);
    await leaveLock(repository, { since: new Date(currentHolder().since.getTime() - 1000) }, true);
    await using lock = await acquireLock(repository, { exclusive: true, clock });
    expect(lock.lost.aborted).toBe(false);
    expect(await lockNames(repository)).toHaveLength(1);
  });

  it('respects a lock of another host, and one that cannot be read', async () => {
    const repository = await createTestRepository();
    await leaveLock(repository, { hostname: 'elsewhere', pid: 1 }, true);
    await expect(acquireLock(repository, { exclusive: false, clock })).rejects.toThrow('elsewhere');

    const torn = await createTestRepository();
    await torn.storage.put(lockName('0'.repeat(64)), new Uint8Array());
    await expect(acquireLock(torn, { exclusive: false, clock })).rejects.toSatisfy(isLocked);
  });

  it('waits for the holder, tells of it once, and stops waiting when aborted', async () => {
    const repository = await createTestRepository();
    const held = await acquireLock(repository, { exclusive: true, clock });
    const seen: number[] = [];
    const waiting = acquireLock(repository, { exclusive: false, clock, waitMs: 10_000, onWaiting: ({ pid }) => seen.push(pid) });
    await turn();
    await held.release();
    await using lock = await waiting;
    expect(lock.exclusive).toBe(false);
    expect(seen).toEqual([process.pid]);

    const abort = new AbortController();
    const stopped = acquireLock(repository, { exclusive: true, waitMs: 60_000, signal: abort.signal });
    setTimeout(() => abort.abort(new Error('no more')), 20);
    await expect(stopped).rejects.toThrow('no more');
    expect(await lockNames(repository)).toHaveLength(1);
  });

  it('is refreshed by a new file before the old one goes', async () => {
    const repository = await createTestRepository();
    const hand = handClock();
    const holder = { ...currentHolder(), since: new Date(0) };
    const lock = await acquireLock(repository, { exclusive: true, clock: hand, holder });
    const before = await lockNames(repository);
    await hand.advance(refreshIntervalMs);
    const after = await lockNames(repository);
    expect(after).toHaveLength(1);
    expect(after).not.toEqual(before);
    await lock.release();
    expect(await lockNames(repository)).toEqual([]);
  });

  it('is lost when another removed it, or when it cannot be refreshed in time', async () => {
    const repository = await createTestRepository();
    const hand = handClock();
    const lock = await acquireLock(repository, { exclusive: true, clock: hand });
    for (const name of await lockNames(repository)) await repository.storage.delete(name);
    await hand.advance(refreshIntervalMs);
    expect(isLocked(lock.lost.reason)).toBe(true);
    await lock.release();

    let isDown = false;
    const storage = openFaultyStorage(openMemoryStorage(), () => (isDown ? 'before' : undefined));
    const warnings: string[] = [];
    const other = await acquireLock(await createTestRepository(storage), {
      exclusive: true,
      clock: hand,
      onWarning: (message) => warnings.push(message),
    });
    isDown = true;
    for (let passedMs = 0; passedMs < lostAfterMs - refreshIntervalMs; passedMs += refreshIntervalMs) await hand.advance(refreshIntervalMs);
    expect(other.lost.aborted).toBe(false);
    await hand.advance(refreshIntervalMs);
    expect(isLocked(other.lost.reason)).toBe(true);
    await other.release();
    expect(warnings.length).toBeGreaterThan(2);
  });
});

describe('a shared lock that settles meanwhile', () => {
  /** Sleeps until it is told, whatever for. */
  function sleepingClock(): Clock & { wake(): Promise<void> } {
    const sleepers: (() => void)[] = [];
    return {
      now: () => new Date(),
      sleep: (_durationMs, signal) =>
        new Promise((resolve, reject) => {
          sleepers.push(resolve);
          signal?.addEventListener('abort', () => reject(signal.reason as Error));
        }),
      async wake() {
        for (const wake of sleepers.splice(0)) wake();
        for (let turns = 0; turns < 20; turns++) await turn();
      },
    };
  }

  it('is had at once, unless another is there, and stays when none shows', async () => {
    const repository = await createTestRepository();
    const sleeping = sleepingClock();
    const lock = await acquireLock(repository, { exclusive: false, settlesMeanwhile: true, clock: sleeping });
    await sleeping.wake();
    expect(lock.lost.aborted).toBe(false);
    await lock.release();
    expect(await lockNames(repository)).toEqual([]);

    await using exclusive = await acquireLock(repository, { exclusive: true, clock });
    expect(exclusive.exclusive).toBe(true);
    await expect(acquireLock(repository, { exclusive: false, settlesMeanwhile: true, clock: sleeping })).rejects.toSatisfy(isLocked);
    expect(await lockNames(repository)).toHaveLength(1);
  });

  it('keeps an exclusive one out from the beginning', async () => {
    const repository = await createTestRepository();
    await using lock = await acquireLock(repository, { exclusive: false, settlesMeanwhile: true, clock: sleepingClock() });
    await expect(acquireLock(repository, { exclusive: true, clock })).rejects.toSatisfy(isLocked);
    expect(lock.lost.aborted).toBe(false);
  });

  it('is lost when an exclusive one shows, or when nobody can tell', async () => {
    let isDown = false;
    const storage = openFaultyStorage(openMemoryStorage(), () => (isDown ? 'before' : undefined));
    const repository = await createTestRepository(storage);
    const sleeping = sleepingClock();
    const lock = await acquireLock(repository, { exclusive: false, settlesMeanwhile: true, clock: sleeping });
    await leaveLock(repository, { hostname: 'elsewhere' }, true);
    await sleeping.wake();
    expect(isLocked(lock.lost.reason)).toBe(true);
    await lock.release();
    for (const name of await lockNames(repository)) await storage.delete(name);

    await using other = await acquireLock(repository, { exclusive: false, settlesMeanwhile: true, clock: sleeping });
    isDown = true;
    await sleeping.wake();
    isDown = false;
    expect(other.lost.aborted).toBe(true);
  });

  it('leaves nothing when it is released before it has settled', async () => {
    const repository = await createTestRepository();
    const lock = await acquireLock(repository, { exclusive: false, settlesMeanwhile: true, clock: sleepingClock() });
    await lock.release();
    expect(lock.lost.aborted).toBe(false);
    expect(await lockNames(repository)).toEqual([]);
  });
});

describe('a shared lock whose holder reads ahead', () => {
  it('reads once the lock file is there, and begins with what was read', async () => {
    const repository = await createTestRepository();
    const seen: number[] = [];
    const prepare = async (): Promise<string> => {
      seen.push((await lockNames(repository)).length);
      return 'read';
    };
    expect(await withSharedLock({ repository, clock }, prepare, async (prepared) => `${prepared} and done`)).toBe('read and done');
    expect(seen).toEqual([1]);
    await using lock = await acquireLock(repository, { exclusive: false, clock });
    expect(await withSharedLock({ repository, clock, lock }, prepare, async (prepared) => prepared)).toBe('read');
    expect(seen).toEqual([1, 1]);
  });

  it('throws away what was read when another holds an exclusive lock after all, and reads again', async () => {
    const repository = await createTestRepository();
    const signals: AbortSignal[] = [];
    const prepare = async (signal: AbortSignal): Promise<number> => {
      // The first time somebody's exclusive lock appears while ours settles.
      if (signals.push(signal) === 1) await leaveLock(repository, { hostname: 'elsewhere' }, true);
      return signals.length;
    };
    const work = async (prepared: number): Promise<number> => prepared;
    await expect(withSharedLock({ repository, clock }, prepare, work)).rejects.toSatisfy(isLocked);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    for (const name of await lockNames(repository)) await repository.storage.delete(name);
    expect(await withSharedLock({ repository, clock }, prepare, work)).toBe(2);
    expect(await lockNames(repository)).toEqual([]);
  });

  it('stops reading when the lock is not had, and when it is lost', async () => {
    const repository = await createTestRepository();
    const hand = handClock();
    const stopped: unknown[] = [];
    const readOn = (signal: AbortSignal, begun: () => void): Promise<number> =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          stopped.push(signal.reason);
          reject(signal.reason as Error);
        });
        begun();
      });
    const meetsAnother = (signal: AbortSignal): Promise<number> => {
      const leaving = leaveLock(repository, { hostname: 'elsewhere', since: hand.now() }, true);
      return Promise.all([leaving, readOn(signal, () => {})]).then(([, read]) => read);
    };
    await expect(withSharedLock({ repository, clock: hand }, meetsAnother, async (read) => read)).rejects.toThrow('elsewhere');
    expect(stopped).toHaveLength(1);

    for (const name of await lockNames(repository)) await repository.storage.delete(name);
    const reading = Promise.withResolvers<void>();
    const lost = withSharedLock(
      { repository, clock: hand },
      (signal) => readOn(signal, reading.resolve),
      async (read) => read,
    );
    const failure = lost.then(
      () => undefined,
      (error: unknown) => error,
    );
    await reading.promise;
    await hand.advance(0);
    for (const name of await lockNames(repository)) await repository.storage.delete(name);
    await hand.advance(refreshIntervalMs);
    expect(isLocked(await failure)).toBe(true);
    expect(stopped).toHaveLength(2);
    expect(isLocked(stopped[1])).toBe(true);
  });

  it('fails with what reading failed with', async () => {
    const repository = await createTestRepository();
    const failing = withSharedLock(
      { repository, clock },
      () => Promise.reject(new Error('unreadable')),
      async () => 1,
    );
    await expect(failing).rejects.toThrow('unreadable');
    expect(await lockNames(repository)).toEqual([]);
  });
});
