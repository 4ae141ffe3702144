import type { RunOutcome } from '@holdfast/database/runs';
import type { ArchiveResult } from '@holdfast/engine/archiver';
import type { CheckResult } from '@holdfast/engine/checker';
import type { CopyResult } from '@holdfast/engine/copy';
import type { RestoreResult } from '@holdfast/engine/restorer';
import type { VerifyRestoredResult } from '@holdfast/engine/verify-restored';
import { recoverySummary } from './recovery-summary.ts';
import type { JsonObject } from '@holdfast/database/json-object';

/**
 * What the engine's results become in rows. Lists are cut: a row is read whole by every list of the API, and who needs more than the
 * first hundred skipped files needs the log of the source's machine.
 */
const maxListed = 100;

export function backupOutcome(location: string, result: ArchiveResult, more: JsonObject): RunOutcome<'backup'> {
  const { snapshotId, treeId, summary, skipped, skippedCount, warnings } = result;
  return {
    status: skippedCount > 0 || warnings.length > 0 ? 'completed_with_warnings' : 'completed',
    result: {
      snapshotId,
      filePath: `${location}/snapshots/${snapshotId}`,
      fileSize: BigInt(summary.totalBytesProcessed),
      checksum: treeId,
      metadata: {
        ...more,
        summary: { ...summary },
        skippedCount,
        skipped: skipped.slice(0, maxListed),
        warnings: warnings.slice(0, maxListed),
      },
    },
  };
}

/** Warnings cost space or speed only; damage fails the verification. */
export function checkOutcome(result: CheckResult): RunOutcome<'verify'> {
  const { findings, ...counts } = result;
  const details = { ...counts, findings: findings.slice(0, maxListed) };
  if (result.damageCount > 0)
    return damaged(details, result.damageCount, findings.find((finding) => finding.severity === 'damage')?.message);
  return { status: result.findingCount > 0 ? 'completed_with_warnings' : 'completed', result: { details } };
}

/** A restore test finds damage in what could not be restored and in what came out differently. */
export function restoreTestOutcome(restored: RestoreResult, compared: VerifyRestoredResult): RunOutcome<'verify'> {
  const details = {
    ...recoveryCounts(restored),
    filesCompared: compared.filesCompared,
    bytesCompared: compared.bytesCompared,
    differenceCount: compared.differenceCount,
    differences: compared.differences.slice(0, maxListed),
  };
  const damageCount = restored.failedCount + compared.differenceCount;
  const [failed] = restored.failed;
  const [difference] = compared.differences;
  const first = failed === undefined ? difference && `${difference.path}: ${difference.detail}` : `${failed.path}: ${failed.reason}`;
  return damageCount > 0 ? damaged(details, damageCount, first) : { status: 'completed', result: { details } };
}

export interface RecoveryFacts {
  readonly path: string;
  readonly resumed: boolean;
  /** What is kept was recovered by a former attempt of the run. */
  readonly countsKept: boolean;
  readonly dryRun: boolean;
}

/** Files that are damaged in the repository, or refused by the target, fail the recovery, though all others are there. */
export function recoveryOutcome(result: RestoreResult, { countsKept, ...facts }: RecoveryFacts): RunOutcome<'recovery'> {
  const { failed, failedCount } = result;
  const before = countsKept ? result.keptCount : 0;
  const recovered = result.filesRestored + result.directoriesRestored + result.otherRestored + result.hardLinksRestored + before;
  const metadata = { ...facts, ...recoveryCounts(result), summary: recoverySummary(result) };
  const columns = { recoveredRecords: BigInt(facts.dryRun ? 0 : recovered), metadata };
  // That something is not possible is what a dry run is to find out.
  const isPerfect = result.warningCount === 0 && result.notPossibleCount === 0;
  if (failedCount === 0 || facts.dryRun) return { status: isPerfect ? 'completed' : 'completed_with_warnings', result: columns };
  const first = failed.find(({ code }) => code === 'repository_damaged') ?? failed[0];
  const isDamage = first?.code === 'repository_damaged';
  const what = isDamage ? 'are damaged in the repository, or refused by the target' : 'were refused by the target';
  const message = `${failedCount} entries ${what}: ${first?.path ?? ''}: ${first?.reason ?? ''}; all others are recovered`;
  return { status: 'failed', error: { code: first?.code ?? 'internal', message }, result: columns };
}

/**
 * `copied`: null when there was nothing to copy from; `absent`: snapshots that were asked for and are gone; `checked`: null when nothing
 * had to be looked at. Snapshots that are not whole in the source leave the others copied: a warning, unless there are no others.
 */
export function copyOutcome(copied: CopyResult | null, absent: readonly string[], checked: CheckResult | null): RunOutcome<'copy'> {
  const gone = absent.map((from) => ({ from, reason: 'is not in the repository, or no longer' }));
  const failed = [...(copied?.failed ?? []), ...gone];
  const details = {
    snapshotsCopied: copied?.copied.length ?? 0,
    snapshotsAlreadyThere: copied?.alreadyThere.length ?? 0,
    snapshotsFailed: failed.length,
    copied: (copied?.copied ?? []).slice(0, maxListed).map(({ from, to }) => ({ from, to })),
    failed: failed.slice(0, maxListed),
    blobsCopied: copied?.blobsCopied ?? 0,
    bytesCopied: copied?.bytesCopied ?? 0,
    packsWritten: copied?.packIds.length ?? 0,
    packBytes: copied?.packBytes ?? 0,
    cutsAlike: copied?.cutsAlike ?? null,
    verification: checked === null ? null : { ...checked, findings: checked.findings.slice(0, maxListed) },
  };
  if (checked !== null && checked.damageCount > 0) {
    const first = checked.findings.find((finding) => finding.severity === 'damage')?.message;
    const message = `${checked.damageCount} findings of damage in the copies: ${first ?? 'see the details'}`;
    return { status: 'failed', error: { code: 'verification_found_damage', message }, result: { details } };
  }
  const [first] = failed;
  if (first === undefined) return { status: 'completed', result: { details } };
  if (details.snapshotsCopied + details.snapshotsAlreadyThere > 0) return { status: 'completed_with_warnings', result: { details } };
  const code = gone.length === failed.length ? 'snapshot_missing' : 'repository_damaged';
  const message = `none of ${failed.length} snapshots could be copied: ${first.from} ${first.reason}`;
  return { status: 'failed', error: { code, message }, result: { details } };
}

/** Damage found by a verification is its result. */
export function damaged(details: JsonObject, damageCount: number, first: string | undefined): RunOutcome<'verify'> {
  const message = `${damageCount} ${damageCount === 1 ? 'finding' : 'findings'} of damage: ${first ?? 'see the details'}`;
  return { status: 'failed', error: { code: 'verification_found_damage', message }, result: { details } };
}

function recoveryCounts(result: RestoreResult): JsonObject {
  const { plan: _plan, notPossible: _notPossible, notPossibleCount: _notPossibleCount, ...counts } = result;
  return { ...counts, warnings: result.warnings.slice(0, maxListed), failed: result.failed.slice(0, maxListed).map((one) => ({ ...one })) };
}
