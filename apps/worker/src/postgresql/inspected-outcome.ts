import type { JsonObject } from '@holdfast/database/json-object';
import type { RunOutcome } from '@holdfast/database/runs';
import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import type { Inspection } from '@holdfast/sources/postgresql/recovery/inspect-server';
import { damaged } from '../run-outcomes.ts';

/** What both kinds of restore tests look at, and for how long. Tables with more rows are estimated. */
export const inspectionLimits = { exactRowLimit: 10_000_000, statementTimeoutMs: 3600 * 1000, totalTimeoutMs: 6 * 3600 * 1000 };
const maxListed = 100;

/** What says of the backup, and not of the worker, that it cannot be read. */
export const readingDamage: ReadonlySet<string> = new Set(['repository_damaged', 'storage_object_missing', 'storage_object_too_short']);
/** The same of data folders and WAL, which a server has to recover from; a new cluster that does not start says nothing of a backup. */
export const recoveryDamage: ReadonlySet<string> = new Set([
  ...readingDamage,
  'postgresql_chain_broken',
  'postgresql_wal_missing',
  'postgresql_target_uncovered',
  'postgresql_recovery_failed',
]);

/** What was found in a server that was restored, as the outcome of the verification. */
export function inspectedOutcome(
  { restoreMs, laidBytes, inspection }: { readonly restoreMs: number; readonly laidBytes: number; readonly inspection: Inspection },
  more: JsonObject & { readonly notes?: readonly string[] },
): RunOutcome<'verify'> {
  const { findings, findingCount, databases, rowCount, isExact, bytes, assertions } = inspection;
  const details = {
    restoreSeconds: restoreMs / 1000,
    inspectionSeconds: inspection.durationMs / 1000,
    bytesRestored: laidBytes,
    bytes,
    rows: rowCount,
    isExact,
    ...more,
    databases: databases.slice(0, maxListed).map(({ tables: _tables, ...database }) => database),
    assertions,
    notes: [...(more.notes ?? []), ...inspection.notes].slice(0, maxListed),
    findingCount,
    findings: findings.slice(0, maxListed),
  };
  const [first] = findings;
  if (first === undefined) return { status: 'completed', result: { details } };
  return damaged(details, findingCount, `${first.database} ${first.relation ?? ''}: ${first.detail}`);
}

/** A test that could not be done because of the backup, as its outcome; throws what says nothing of the backup. */
export function damageOutcome(error: unknown, damageCodes: ReadonlySet<string>): RunOutcome<'verify'> {
  const { code, message } = asHoldfastError(error);
  if (!damageCodes.has(code)) throw error;
  return damaged({ findingCount: 1, findings: [{ kind: code, detail: message }] }, 1, message);
}
