import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ArchivedWal, RecoveryChains, StoredBase } from './recovery-chains.ts';
import { planRecovery, type RecoveryTarget } from './recovery-plan.ts';
import { recoveryWindows } from './recovery-window.ts';

/** A small world: segments of 4 bytes, LSNs and times below 48, where a clock ticks with each byte of WAL. */
const segmentSizeBytes = 4;
const worldEnd = 48;

const wal = (fromLsn: number, toLsn: number, more: Partial<ArchivedWal> = {}): ArchivedWal => ({
  timeline: 1,
  fromLsn: BigInt(fromLsn),
  toLsn: BigInt(toLsn),
  lastCommitUs: BigInt(toLsn - 1),
  completeUs: null,
  ...more,
});
const base = (id: string, startLsn: number, endLsn: number, more: Partial<StoredBase> = {}): StoredBase => ({
  id,
  timeline: 1,
  startLsn: BigInt(startLsn),
  endLsn: BigInt(endLsn),
  endTimeUs: BigInt(endLsn),
  parentId: null,
  ...more,
});
const chains = (bases: readonly StoredBase[], archived: readonly ArchivedWal[], more: Partial<RecoveryChains> = {}): RecoveryChains => ({
  bases,
  wal: archived,
  histories: new Map(),
  restorePoints: [],
  segmentSizeBytes,
  ...more,
});

describe('windows', () => {
  test('a lost piece of WAL is a gap until the next base', () => {
    const [window] = recoveryWindows(chains([base('a', 1, 3), base('b', 18, 20)], [wal(0, 8), wal(16, 24), wal(24, 32)]));
    expect(window).toMatchObject({ timeline: 1, fromLsn: 3n, toLsn: 32n, fromUs: 3n, toUs: 31n });
    expect(window?.parts).toHaveLength(2);
    expect(window?.gaps).toEqual([{ fromLsn: 8n, toLsn: 20n, fromUs: 7n, toUs: 20n }]);
  });

  test('nothing is recoverable from a base whose own WAL is not whole', () => {
    expect(recoveryWindows(chains([base('a', 1, 9)], [wal(0, 8), wal(12, 16)]))).toEqual([]);
    expect(recoveryWindows(chains([], [wal(0, 8)]))).toEqual([]);
  });

  test('an idle server is covered for as long as it had nothing more to give', () => {
    const idle = chains([base('a', 1, 3)], [wal(0, 8, { completeUs: 40n })]);
    expect(recoveryWindows(idle)[0]?.toUs).toBe(40n);
    expect(planRecovery(idle, { kind: 'time', timeUs: 33n }).stop).toEqual({ kind: 'end_of_wal', lsn: 8n });
    expect(planRecovery(idle, { kind: 'time', timeUs: 6n }).stop).toEqual({ kind: 'time', timeUs: 6n, inclusive: true });
  });

  test('it is covered for longer with each look at it, whether it lies idle within a segment or at the end of one', () => {
    const within = wal(0, 6, { completeUs: 40n });
    for (const second of [wal(4, 6, { completeUs: 44n }), wal(0, 6, { completeUs: 44n })]) {
      const idle = chains([base('a', 1, 3)], [within, second]);
      expect(recoveryWindows(idle)).toMatchObject([{ toUs: 44n, toLsn: 6n, gaps: [] }]);
      expect(planRecovery(idle, { kind: 'time', timeUs: 43n }).stop).toEqual({ kind: 'end_of_wal', lsn: 6n });
    }
    const nothingNew = wal(8, 8, { lastCommitUs: null, completeUs: 44n });
    const atEnd = chains([base('a', 1, 3)], [wal(0, 8), nothingNew]);
    expect(recoveryWindows(atEnd)).toMatchObject([{ toUs: 44n, toLsn: 8n, gaps: [], parts: [{}] }]);
    expect(planRecovery(atEnd, { kind: 'latest' }).wal).toEqual([{ timeline: 1, fromLsn: 0n, toLsn: 8n }]);
  });

  test('a window never becomes shorter by WAL without commits that follows an idle time', () => {
    const since = wal(4, 9, { lastCommitUs: null });
    expect(recoveryWindows(chains([base('a', 1, 3)], [wal(0, 6, { completeUs: 40n }), since]))[0]?.toUs).toBe(40n);
    const again = wal(4, 7, { lastCommitUs: null });
    expect(recoveryWindows(chains([base('a', 1, 3)], [wal(4, 6, { completeUs: 40n }), wal(0, 4), again]))[0]?.toUs).toBe(40n);
  });

  test('nothing new is nothing of its own: it neither bridges a gap nor counts for a history that was left just there', () => {
    const nothingNew = wal(12, 12, { lastCommitUs: null, completeUs: 44n });
    const [gap] = recoveryWindows(chains([base('a', 1, 3), base('b', 17, 19)], [wal(0, 8), nothingNew, wal(16, 20)]));
    expect(gap?.gaps).toMatchObject([{ fromLsn: 8n, toLsn: 19n }]);
    expect(gap?.parts).toHaveLength(2);
    const left = chains([base('a', 1, 3)], [wal(0, 12), nothingNew, wal(12, 16, { timeline: 2 })], {
      histories: new Map([[2, [{ timeline: 1, switchLsn: 12n }]]]),
    });
    expect(recoveryWindows(left).map(({ timeline, toUs }) => [timeline, toUs])).toEqual([
      [1, 44n],
      [2, 15n],
    ]);
  });

  test('what was written behind the place where a timeline was left is of another history', () => {
    const failover = chains([base('a', 1, 3)], [wal(0, 16), wal(8, 20, { timeline: 2 })], {
      histories: new Map([[2, [{ timeline: 1, switchLsn: 10n }]]]),
    });
    expect(recoveryWindows(failover).map((window) => [window.timeline, window.toLsn])).toEqual([
      [1, 16n],
      [2, 20n],
    ]);
    const plan = planRecovery(failover, { kind: 'lsn', lsn: 14n });
    expect(plan.timeline).toBe(2);
    expect(plan.histories).toEqual([2]);
    expect(plan.wal).toEqual([
      { timeline: 1, fromLsn: 0n, toLsn: 12n },
      { timeline: 2, fromLsn: 8n, toLsn: 20n },
    ]);
    expect(planRecovery(failover, { kind: 'lsn', lsn: 14n, timeline: 1 }).wal).toEqual([{ timeline: 1, fromLsn: 0n, toLsn: 16n }]);
  });
});

describe('targets', () => {
  const one = chains(
    [base('full', 1, 3), base('inc', 9, 11, { parentId: 'full' }), base('lone', 13, 15, { parentId: 'gone' })],
    [wal(0, 20)],
    {
      restorePoints: [
        { name: 'once', timeline: 1, lsn: 12n },
        { name: 'twice', timeline: 1, lsn: 13n },
        { name: 'twice', timeline: 1, lsn: 17n },
      ],
    },
  );

  test('an incremental base comes with what it builds on; one whose parent is gone is no base', () => {
    expect(planRecovery(one, { kind: 'latest' }).backups.map(({ id }) => id)).toEqual(['full', 'inc']);
    expect(planRecovery(one, { kind: 'lsn', lsn: 10n }).backups.map(({ id }) => id)).toEqual(['full']);
    expect(planRecovery(one, { kind: 'latest' }).wal).toEqual([{ timeline: 1, fromLsn: 8n, toLsn: 20n }]);
  });

  test('a restore point is found by its name, and one of two is refused', () => {
    expect(planRecovery(one, { kind: 'name', name: 'once' }).stop).toEqual({ kind: 'name', name: 'once' });
    expect(() => planRecovery(one, { kind: 'name', name: 'twice' })).toThrow(/several restore points/u);
    expect(() => planRecovery(one, { kind: 'name', name: 'never' })).toThrow(
      /the restore point "never" on timeline 1 cannot be recovered/u,
    );
  });

  test('where a timeline was left in the middle of what one run stored, a server has to find out itself where to stop', () => {
    const failover = chains([base('a', 1, 3)], [wal(0, 16), wal(8, 12, { timeline: 2, lastCommitUs: null, completeUs: 40n })], {
      histories: new Map([[2, [{ timeline: 1, switchLsn: 10n }]]]),
    });
    expect(planRecovery(failover, { kind: 'time', timeUs: 5n }).stop).toEqual({ kind: 'time', timeUs: 5n, inclusive: true });
    expect(planRecovery(failover, { kind: 'time', timeUs: 5n }).wal.at(-1)).toEqual({ timeline: 2, fromLsn: 8n, toLsn: 12n });
    expect(planRecovery(failover, { kind: 'time', timeUs: 15n }).stop).toEqual({ kind: 'end_of_wal', lsn: 12n });
  });

  test('the time of the last commit itself: nothing is behind it that a server could stop at', () => {
    expect(planRecovery(one, { kind: 'time', timeUs: 19n }).stop).toEqual({ kind: 'end_of_wal', lsn: 20n });
    expect(planRecovery(one, { kind: 'time', timeUs: 19n, inclusive: false }).stop).toEqual({
      kind: 'time',
      timeUs: 19n,
      inclusive: false,
    });
  });

  test('a refusal names the windows', () => {
    const refuse = (target: RecoveryTarget): void => void planRecovery(one, target);
    const window = 'timeline 1 from 1970-01-01T00:00:00.000003Z to 1970-01-01T00:00:00.000019Z (0/3 to 0/14)';
    expect(() => refuse({ kind: 'time', timeUs: 20n })).toThrow(`cannot be recovered; covered are: ${window}`);
    expect(() => refuse({ kind: 'lsn', lsn: 2n })).toThrow(`the LSN 0/2 on timeline 1 cannot be recovered; covered are: ${window}`);
    expect(() => planRecovery(chains([], []), { kind: 'latest' })).toThrow(/no base backup with all of its WAL/u);
  });
});

describe('every world', () => {
  const lsn = fc.nat(worldEnd - 1);
  const span = fc.tuple(lsn, fc.integer({ min: 1, max: 16 }));
  const timeline = fc.integer({ min: 1, max: 3 });
  const world = fc
    .record({
      bases: fc.array(fc.record({ span, timeline, parent: fc.option(fc.nat(4), { freq: 3 }) }), { maxLength: 5 }),
      wal: fc.array(fc.record({ span, timeline, hasCommits: fc.boolean() }), { maxLength: 12 }),
      switches: fc.tuple(lsn, lsn),
      thirdFromFirst: fc.boolean(),
    })
    .map((made): RecoveryChains => {
      const [second, third] = made.switches.toSorted((a, b) => a - b).map(BigInt) as [bigint, bigint];
      const fromSecond = [{ timeline: 1, switchLsn: second }];
      const histories = new Map([
        [2, fromSecond],
        [3, made.thirdFromFirst ? [{ timeline: 1, switchLsn: third }] : [...fromSecond, { timeline: 2, switchLsn: third }]],
      ]);
      const bases = made.bases.map((each, index) =>
        base(`b${index}`, each.span[0], each.span[0] + each.span[1], {
          timeline: each.timeline,
          parentId: each.parent === null ? null : `b${each.parent}`,
        }),
      );
      const archived = made.wal.map((each) =>
        wal(each.span[0], each.span[0] + each.span[1], {
          timeline: each.timeline,
          lastCommitUs: each.hasCommits ? BigInt(each.span[0] + each.span[1] - 1) : null,
        }),
      );
      return chains(bases, archived, { histories });
    });

  /** Byte by byte: whether what the path to `along` has at `at` is kept. */
  const isKept = ({ histories, wal: archived }: RecoveryChains, along: number, at: bigint): boolean => {
    const path = [...(histories.get(along) ?? []), { timeline: along, switchLsn: BigInt(1000) }];
    return path.some(({ timeline: each, switchLsn }, index) => {
      const begin = path[index - 1]?.switchLsn ?? 0n;
      const copiedFrom = begin - (begin % BigInt(segmentSizeBytes));
      return at >= copiedFrom && at < switchLsn && archived.some((kept) => kept.timeline === each && kept.fromLsn <= at && at < kept.toLsn);
    });
  };
  const isOnPath = ({ histories }: RecoveryChains, along: number, each: StoredBase): boolean => {
    const path = [...(histories.get(along) ?? []), { timeline: along, switchLsn: BigInt(1000) }];
    const at = path.findIndex((stretch) => stretch.timeline === each.timeline);
    return at >= 0 && each.startLsn >= (path[at - 1]?.switchLsn ?? 0n) && each.endLsn <= (path[at]?.switchLsn ?? 0n);
  };
  const isWhole = ({ bases }: RecoveryChains, each: StoredBase): boolean => {
    let current: StoredBase | undefined = each;
    for (let steps = 0; steps <= bases.length && current !== undefined; steps++) {
      if (current.parentId === null) return true;
      const parentId: string = current.parentId;
      current = bases.find(({ id }) => id === parentId);
    }
    return false;
  };
  const everyByte = (from: bigint, to: bigint, holds: (at: bigint) => boolean): boolean => {
    for (let at = from; at < to; at++) if (!holds(at)) return false;
    return true;
  };
  const attempt = (kept: RecoveryChains, target: RecoveryTarget): ReturnType<typeof planRecovery> | null => {
    try {
      return planRecovery(kept, target);
    } catch (error) {
      expect(error).toMatchObject({ code: 'postgresql_target_uncovered' });
      return null;
    }
  };

  test('an LSN is recoverable just when a base and every byte of WAL from its start to there are kept', () => {
    fc.assert(
      fc.property(world, timeline, fc.nat(worldEnd + 16), fc.boolean(), (kept, along, at, inclusive) => {
        const target = BigInt(at);
        const plan = attempt(kept, { kind: 'lsn', lsn: target, inclusive, timeline: along });
        const usable = kept.bases.filter(
          (each) =>
            each.endLsn <= target &&
            isOnPath(kept, along, each) &&
            isWhole(kept, each) &&
            everyByte(each.startLsn, target, (byte) => isKept(kept, along, byte)),
        );
        expect(plan !== null).toBe(usable.length > 0);
        if (plan === null) return;
        const used = plan.backups.at(-1);
        expect(used?.endLsn).toBe(usable.reduce((latest, each) => (each.endLsn > latest ? each.endLsn : latest), 0n));
        const given = (byte: bigint): boolean =>
          plan.wal.some((piece) => piece.fromLsn <= byte && byte < piece.toLsn) && isKept(kept, along, byte);
        expect(everyByte(used?.startLsn ?? 0n, target, given)).toBe(true);
      }),
      { numRuns: 3_000 },
    );
  });

  test('a time is never recovered from a base that ends after it, nor over a gap, and only to a commit behind it', () => {
    fc.assert(
      fc.property(world, timeline, fc.nat(worldEnd + 16), fc.boolean(), (kept, along, at, inclusive) => {
        const timeUs = BigInt(at);
        const plan = attempt(kept, { kind: 'time', timeUs, inclusive, timeline: along });
        if (plan === null) return;
        const used = plan.backups.at(-1);
        expect((used?.endTimeUs ?? 99n) <= timeUs).toBe(true);
        const end = plan.wal.reduce((latest, piece) => (piece.toLsn > latest ? piece.toLsn : latest), 0n);
        const isGiven = (byte: bigint): boolean => plan.wal.some((piece) => piece.fromLsn <= byte && byte < piece.toLsn);
        expect(everyByte(used?.startLsn ?? 0n, end, isGiven)).toBe(true);
        if (plan.stop.kind === 'time') {
          const behind = kept.wal.filter(
            ({ lastCommitUs }) => lastCommitUs !== null && (inclusive ? lastCommitUs > timeUs : lastCommitUs >= timeUs),
          );
          // Of one that the path leaves in the middle, such a commit may lie behind that.
          const given = ({ timeline: its, toLsn }: ArchivedWal): bigint => {
            const leftAt = kept.histories.get(along)?.find((parent) => parent.timeline === its)?.switchLsn ?? toLsn;
            return leftAt < toLsn ? leftAt : toLsn;
          };
          expect(behind.some((piece) => plan.wal.some((each) => each.timeline === piece.timeline && each.toLsn >= given(piece)))).toBe(
            true,
          );
        } else expect(plan.stop).toMatchObject({ kind: 'end_of_wal' });
      }),
      { numRuns: 3_000 },
    );
  });

  test('every place of a window is recoverable, and no place of a gap', () => {
    fc.assert(
      fc.property(world, (kept) => {
        for (const window of recoveryWindows(kept)) {
          for (const part of window.parts) {
            for (let at = part.fromLsn; at <= part.toLsn; at++) {
              expect(attempt(kept, { kind: 'lsn', lsn: at, timeline: window.timeline })).not.toBeNull();
            }
            for (const timeUs of [part.fromUs, part.toUs]) {
              expect(attempt(kept, { kind: 'time', timeUs, timeline: window.timeline })).not.toBeNull();
            }
          }
          for (const gap of window.gaps) {
            for (let at = gap.fromLsn + 1n; at < gap.toLsn; at++) {
              expect(attempt(kept, { kind: 'lsn', lsn: at, timeline: window.timeline })).toBeNull();
            }
          }
          expect(attempt(kept, { kind: 'latest', timeline: window.timeline })?.stop).toEqual({ kind: 'end_of_wal', lsn: window.toLsn });
        }
      }),
      { numRuns: 500 },
    );
  });

  test('what is kept besides never makes a target unrecoverable', () => {
    fc.assert(
      fc.property(world, timeline, fc.nat(worldEnd), span, (kept, along, at, [from, length]) => {
        const target: RecoveryTarget = { kind: 'lsn', lsn: BigInt(at), timeline: along };
        const more = {
          ...kept,
          wal: [...kept.wal, wal(from, from + length, { timeline: along })],
          bases: [...kept.bases, base('more', from, from + length)],
        };
        if (attempt(kept, target) !== null) expect(attempt(more, target)).not.toBeNull();
      }),
      { numRuns: 1_000 },
    );
  });
});
