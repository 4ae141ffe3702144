import { setImmediate as turn } from 'node:timers/promises';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it } from 'vitest';
import type { SftpSession } from './sftp-session.ts';
import { SftpSessionPool } from './sftp-session-pool.ts';

const unreachable = new HoldfastError('storage_unreachable', 'no more connections');

describe('sessions of an sftp storage', () => {
  it('are opened when needed, as many as allowed, and used again', async () => {
    const { pool, opened } = poolOf(3);
    await pool.run(async () => undefined);
    await pool.run(async () => undefined);
    expect(opened).toHaveLength(1);
    let [runningCount, mostCount] = [0, 0];
    const work = async (): Promise<void> => {
      runningCount += 1;
      mostCount = Math.max(mostCount, runningCount);
      await turn();
      runningCount -= 1;
    };
    await Promise.all(Array.from({ length: 20 }, () => pool.run(work)));
    expect(opened).toHaveLength(3);
    expect(mostCount).toBe(3);
  });

  it('that are lost are replaced, in their work and beside it', async () => {
    const { pool, opened } = poolOf(1);
    await expect(
      pool.run(async (session) => {
        lose(session);
        throw unreachable;
      }),
    ).rejects.toBe(unreachable);
    await pool.run(async (session) => lose(session));
    await pool.run(async (session) => expect(session.isLost).toBe(false));
    const idle = opened.at(-1);
    if (idle !== undefined) lose(idle);
    await pool.run(async (session) => expect(session).not.toBe(idle));
    expect(opened).toHaveLength(4);
  });

  it('that the server refuses are done without, and asked for again later', async () => {
    let refuses = false;
    let nowMs = 0;
    const { pool, opened } = poolOf(
      4,
      () => refuses,
      () => nowMs,
    );
    const first = Promise.withResolvers<void>();
    const held = pool.run(() => first.promise);
    await turn();
    refuses = true;
    const others = Promise.all([1, 2, 3].map((value) => pool.run(async () => value)));
    await turn();
    first.resolve();
    await held;
    expect(await others).toEqual([1, 2, 3]);
    expect(opened).toHaveLength(1);
    refuses = false;
    await Promise.all([1, 2, 3].map(() => pool.run(() => turn())));
    expect(opened).toHaveLength(1);
    nowMs = 10_001;
    await Promise.all([1, 2, 3].map(() => pool.run(() => turn())));
    expect(opened.length).toBeGreaterThan(1);
  });

  it('of which none can be had let all who wait fail', async () => {
    const { pool } = poolOf(2, () => true);
    const outcomes = await Promise.allSettled([1, 2, 3, 4].map(() => pool.run(async () => undefined)));
    expect(outcomes).toEqual(outcomes.map(() => ({ status: 'rejected', reason: unreachable })));
  });

  it('are not waited for by who has aborted', async () => {
    const { pool } = poolOf(1);
    const first = Promise.withResolvers<void>();
    const held = pool.run(() => first.promise);
    const controller = new AbortController();
    const reason = new Error('stop');
    const waiting = pool.run(async () => undefined, controller.signal);
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(pool.run(async () => undefined, AbortSignal.abort(reason))).rejects.toBe(reason);
    first.resolve();
    await held;
  });

  it('end with the pool, once the work is over', async () => {
    const { pool, opened } = poolOf(2);
    const first = Promise.withResolvers<void>();
    const held = pool.run(() => first.promise);
    await pool.run(async () => undefined);
    const closing = pool.close();
    first.resolve();
    await Promise.all([held, closing, pool.close()]);
    expect(opened.every(({ isLost }) => isLost)).toBe(true);
    await expect(pool.run(async () => undefined)).rejects.toMatchObject({ code: 'internal' });
  });
});

/** A session that does nothing but be there. */
interface EmptySession {
  isLost: boolean;
  end(): void;
}

function poolOf(
  maxCount: number,
  refuses: () => boolean = () => false,
  nowMs?: () => number,
): { pool: SftpSessionPool; opened: SftpSession[] } {
  const opened: SftpSession[] = [];
  const open = async (): Promise<SftpSession> => {
    await turn();
    if (refuses()) throw unreachable;
    const session: EmptySession = {
      isLost: false,
      end() {
        session.isLost = true;
      },
    };
    opened.push(session as unknown as SftpSession);
    return session as unknown as SftpSession;
  };
  return { pool: new SftpSessionPool(open, maxCount, nowMs), opened };
}

function lose(session: SftpSession): void {
  session.end();
}
