import { describe, expect, test } from 'vitest';
import { backupOutcome, checkOutcome, recoveryOutcome, restoreTestOutcome } from './run-outcomes.ts';

const summary = {
  filesNew: 1,
  filesChanged: 0,
  filesUnmodified: 0,
  dirsNew: 1,
  dirsChanged: 0,
  dirsUnmodified: 0,
  dataBlobs: 1,
  treeBlobs: 1,
  dataAdded: 5,
  dataAddedPacked: 5,
  totalFilesProcessed: 1,
  totalBytesProcessed: 5,
};
const archived = { snapshotId: 'a'.repeat(64), treeId: 'b'.repeat(64), summary, skipped: [], skippedCount: 0, warnings: [] };
const restored = {
  filesRestored: 3,
  directoriesRestored: 2,
  otherRestored: 1,
  hardLinksRestored: 1,
  replacedCount: 0,
  keptCount: 0,
  keptBytes: 0,
  removedCount: 0,
  removedBytes: 0,
  bytesRestored: 9,
  warnings: [],
  warningCount: 0,
  failed: [],
  failedCount: 0,
  notPossible: [],
  notPossibleCount: 0,
};
const compared = { differences: [], differenceCount: 0, filesCompared: 3, bytesCompared: 9 };
const checked = {
  findings: [],
  findingCount: 0,
  damageCount: 0,
  snapshotsChecked: 1,
  packsChecked: 1,
  treesChecked: 1,
  blobsChecked: 1,
  bytesRead: 1,
};
const damage = { kind: 'pack_missing', severity: 'damage', message: 'pack x is gone', affected: [], affectedCount: 0 } as const;
const skippedEntry = { path: '/x', reason: 'denied' };
const facts = { path: '/to', resumed: false, countsKept: false, dryRun: false };
const failedEntry = { ...skippedEntry, code: 'repository_damaged' } as const;

describe('a backup', () => {
  test('is complete when nothing was skipped', () => expect(backupOutcome('local:/r', archived, {}).status).toBe('completed'));

  test('tells of what was skipped, and lists no more than a hundred', () => {
    const skipped = Array.from({ length: 150 }, () => skippedEntry);
    expect(backupOutcome('local:/r', { ...archived, skipped, skippedCount: 150 }, { parentId: null })).toMatchObject({
      status: 'completed_with_warnings',
      result: {
        filePath: `local:/r/snapshots/${'a'.repeat(64)}`,
        fileSize: 5n,
        checksum: 'b'.repeat(64),
        metadata: { skippedCount: 150, skipped: { length: 100 }, parentId: null },
      },
    });
  });
});

describe('a verification', () => {
  test('that finds nothing has passed', () => expect(checkOutcome(checked).status).toBe('completed'));

  test('fails with the damage and names it', () => {
    expect(checkOutcome({ ...checked, findings: [damage], findingCount: 1, damageCount: 1 })).toMatchObject({
      status: 'failed',
      error: { code: 'verification_found_damage', message: '1 finding of damage: pack x is gone' },
      result: { details: { damageCount: 1, findings: [damage] } },
    });
  });

  test('passes with warnings for what costs only space', () => {
    const finding = { ...damage, severity: 'warning' } as const;
    expect(checkOutcome({ ...checked, findings: [finding], findingCount: 1 }).status).toBe('completed_with_warnings');
  });

  test('by restoring fails for what differs and for what could not be restored', () => {
    expect(restoreTestOutcome(restored, compared).status).toBe('completed');
    const difference = { path: '/a', kind: 'content', detail: 'other bytes' } as const;
    expect(restoreTestOutcome(restored, { ...compared, differences: [difference], differenceCount: 1 })).toMatchObject({
      status: 'failed',
      error: { message: '1 finding of damage: /a: other bytes' },
    });
    expect(restoreTestOutcome({ ...restored, failed: [failedEntry], failedCount: 2 }, compared)).toMatchObject({
      status: 'failed',
      error: { message: '2 findings of damage: /x: denied' },
    });
  });
});

describe('a recovery', () => {
  test('counts everything that it brought back', () => {
    expect(recoveryOutcome(restored, facts)).toMatchObject({ status: 'completed', result: { recoveredRecords: 7n } });
    const goneOn = recoveryOutcome({ ...restored, keptCount: 5 }, { ...facts, resumed: true, countsKept: true });
    expect(goneOn).toMatchObject({ result: { recoveredRecords: 12n } });
  });

  test('with what could not be set has warnings', () => {
    expect(recoveryOutcome({ ...restored, warnings: [skippedEntry], warningCount: 1 }, facts).status).toBe('completed_with_warnings');
  });

  test('with damaged files fails, and says what it brought back all the same', () => {
    expect(recoveryOutcome({ ...restored, failed: [failedEntry], failedCount: 1 }, facts)).toMatchObject({
      status: 'failed',
      error: { code: 'repository_damaged' },
      result: { recoveredRecords: 7n, metadata: { failedCount: 1 } },
    });
  });
});
