import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keptWithChain } from './chain-retention.ts';
import type { BackupFacts } from './recovery-facts.ts';
import { planJobRecovery } from './recovery-request.ts';

const segmentSizeBytes = 16;
const cluster = { systemIdentifier: '7', majorVersion: 18, segmentSizeBytes };
const pages = { checkedPageCount: 0, badPageCount: 0, badPages: [] };

const base = (jobId: string, startLsn: number, parentJobId: string | null = null, systemIdentifier = '7'): BackupFacts => ({
  jobId,
  facts: {
    kind: 'base',
    ...cluster,
    systemIdentifier,
    superuser: 'postgres',
    timeline: 1,
    startLsn: BigInt(startLsn),
    endLsn: BigInt(startLsn + 4),
    endTime: BigInt(startLsn),
    parentJobId,
    ...pages,
  },
});
const wal = (jobId: string, fromLsn: number, toLsn: number, systemIdentifier = '7'): BackupFacts => ({
  jobId,
  facts: {
    kind: 'wal',
    ...cluster,
    systemIdentifier,
    pieces: [{ timeline: 1, fromLsn: BigInt(fromLsn), toLsn: BigInt(toLsn), lastCommit: BigInt(toLsn), complete: null }],
    histories: [],
    restorePoints: [],
  },
});
const kept = (backups: readonly BackupFacts[], ids: string[]): string[] => [...keptWithChain(backups, new Set(ids))].toSorted();

describe('what is kept keeps what it needs', () => {
  test('blocks their parents, and WAL its base with the WAL between', () => {
    const backups = [
      base('full', 32),
      wal('w1', 32, 70),
      base('blocks', 70, 'full'),
      wal('w2', 64, 100),
      wal('w3', 96, 140),
      base('alone', 150),
    ];
    expect(kept(backups, ['blocks'])).toEqual(['blocks', 'full']);
    expect(kept(backups, ['w3'])).toEqual(['blocks', 'full', 'w2', 'w3']);
    expect(kept(backups, ['w1'])).toEqual(['full', 'w1']);
    expect(kept(backups, ['alone'])).toEqual(['alone']);
  });

  test('WAL is not left to a base backup that was taken behind it, in the same segment', () => {
    const backups = [base('full', 64), wal('w1', 64, 80), wal('w2', 80, 81), base('later', 81)];
    expect(kept(backups, ['w2'])).toEqual(['full', 'w1', 'w2']);
  });

  test('WAL that no base reaches, and another cluster, need nothing', () => {
    const backups = [base('other', 0, null, '8'), wal('lost', 0, 30), base('full', 160), wal('after', 160, 200)];
    expect(kept(backups, ['lost'])).toEqual(['lost']);
    expect(kept(backups, ['after'])).toEqual(['after', 'full']);
  });

  test('whatever could be recovered of what is kept still can, once the rest is gone', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('base' as const), blocks: fc.boolean() }),
      fc.record({ kind: fc.constant('wal' as const), bytes: fc.integer({ min: 1, max: 60 }), isLost: fc.integer({ min: 0, max: 9 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 14 }), fc.infiniteStream(fc.boolean()), (steps, choices) => {
        const backups = makeChain(steps);
        const chosen = backups.filter(() => choices.next().value === true).map(({ jobId }) => jobId);
        const staying = keptWithChain(backups, new Set(chosen));
        const left = backups.filter(({ jobId }) => staying.has(jobId));
        for (const id of chosen) {
          expect(staying).toContain(id);
          if (isRecoverable(backups, id))
            expect(isRecoverable(left, id), `${id} of ${backups.map(({ jobId }) => jobId).join(' ')}`).toBe(true);
        }
      }),
    );
  });
});

function makeChain(steps: readonly ({ kind: 'base'; blocks: boolean } | { kind: 'wal'; bytes: number; isLost: number })[]): BackupFacts[] {
  const backups: BackupFacts[] = [];
  let lsn = 64;
  let fetched = 64;
  let newest: string | null = null;
  for (const [nth, step] of steps.entries()) {
    if (step.kind === 'base') {
      const id: string = `base${nth}`;
      backups.push(base(id, lsn, step.blocks ? newest : null));
      newest = id;
      lsn += 4;
    } else {
      lsn += step.bytes;
      if (step.isLost > 0) backups.push(wal(`wal${nth}`, fetched - (fetched % segmentSizeBytes), lsn));
      fetched = lsn;
    }
  }
  return backups;
}

function isRecoverable(backups: readonly BackupFacts[], jobId: string): boolean {
  try {
    planJobRecovery(backups, jobId, null);
    return true;
  } catch {
    return false;
  }
}
