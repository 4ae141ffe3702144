import { Prisma } from '../generated/client.ts';
import type { Transaction } from './open-database.ts';
import { runKinds, runTables, type RunKind } from './run-kinds.ts';
import type { RunStatus } from './run-states.ts';
import { entityIsInScope, type Scope } from './scope.ts';

export interface MetricsFilter {
  readonly entityId?: string | undefined;
  /** Runs created from here (inclusive) to there (exclusive). */
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
  /** Recoveries that only told what they would do are none. */
  readonly withoutDryRuns?: true | undefined;
}

export interface RunMetrics {
  readonly total: number;
  /** Every status, 0 included. */
  readonly byStatus: Readonly<Record<RunStatus, number>>;
  /** Completed of those that completed or failed, 0..1; null when there are none. */
  readonly successRate: number | null;
  /** Of completed runs, milliseconds; null when there are none. */
  readonly averageDurationMs: number | null;
  readonly p95DurationMs: number | null;
}

export interface BackupMetrics extends RunMetrics {
  /** Bytes of the files in all completed backups, before deduplication. */
  readonly totalSizeBytes: bigint;
  /** For each config that is not deleted; `at` is null when it never succeeded. */
  readonly lastSuccess: readonly { readonly backupConfigId: string; readonly name: string; readonly at: Date | null }[];
}

export interface RecoveryMetrics extends RunMetrics {
  readonly recoveredRecords: bigint;
  readonly lastSuccessAt: Date | null;
}

const zeroes: Record<RunStatus, number> = {
  pending: 0,
  queued: 0,
  running: 0,
  completed: 0,
  completed_with_warnings: 0,
  failed: 0,
  cancelled: 0,
};

const isSuccess = Prisma.raw(`"status" IN ('completed', 'completed_with_warnings')`);

export async function backupMetrics(rows: Transaction, scope: Scope, filter: MetricsFilter): Promise<BackupMetrics> {
  const metrics = await runMetrics(rows, 'backup', scope, filter);
  const [sum] = await rows.$queryRaw<{ bytes: bigint }[]>`
    SELECT COALESCE(sum("fileSize"), 0)::bigint AS bytes FROM "backup_jobs" WHERE ${isSuccess} AND ${where(scope, filter)}`;
  const lastSuccess = await rows.$queryRaw<{ backupConfigId: string; name: string; at: Date | null }[]>`
    SELECT config."id" AS "backupConfigId", config."name",
      (SELECT max("endTime") FROM "backup_jobs" WHERE "backupConfigId" = config."id" AND ${isSuccess}) AS "at"
    FROM "backup_configs" config WHERE "deletedAt" IS NULL AND ${where(scope, { entityId: filter.entityId })}
    ORDER BY config."name", config."id" LIMIT ${maxConfigs}`;
  return { ...metrics, totalSizeBytes: sum?.bytes ?? 0n, lastSuccess };
}

export async function recoveryMetrics(rows: Transaction, scope: Scope, given: MetricsFilter): Promise<RecoveryMetrics> {
  const filter: MetricsFilter = { ...given, withoutDryRuns: true };
  const metrics = await runMetrics(rows, 'recovery', scope, filter);
  const [sum] = await rows.$queryRaw<{ records: bigint; at: Date | null }[]>`
    SELECT COALESCE(sum("recoveredRecords"), 0)::bigint AS records, max("endTime") AS at
    FROM "recovery_jobs" WHERE ${isSuccess} AND ${where(scope, filter)}`;
  return { ...metrics, recoveredRecords: sum?.records ?? 0n, lastSuccessAt: sum?.at ?? null };
}

/** How many runs of each kind are in each status: what the service is busy with. */
export async function runCounts(rows: Transaction, scope: Scope): Promise<Record<RunKind, Record<RunStatus, number>>> {
  const counts = {
    backup: { ...zeroes },
    verify: { ...zeroes },
    recovery: { ...zeroes },
    cleanup: { ...zeroes },
    copy: { ...zeroes },
    adopt: { ...zeroes },
  };
  for (const kind of runKinds) counts[kind] = await countByStatus(rows, kind, scope, {});
  return counts;
}

/** One answer lists at most this many configs. */
const maxConfigs = 1_000;

async function runMetrics(rows: Transaction, kind: RunKind, scope: Scope, filter: MetricsFilter): Promise<RunMetrics> {
  const byStatus = await countByStatus(rows, kind, scope, filter);
  const [durations] = await rows.$queryRaw<{ average: number | null; p95: number | null }[]>`
    SELECT avg("duration")::float8 AS average, (percentile_cont(0.95) WITHIN GROUP (ORDER BY "duration"))::float8 AS p95
    FROM ${runTables[kind]} WHERE ${isSuccess} AND ${where(scope, filter)}`;
  const succeeded = byStatus.completed + byStatus.completed_with_warnings;
  const decided = succeeded + byStatus.failed;
  return {
    total: Object.values(byStatus).reduce((sum, count) => sum + count, 0),
    byStatus,
    successRate: decided === 0 ? null : succeeded / decided,
    averageDurationMs: durations?.average ?? null,
    p95DurationMs: durations?.p95 ?? null,
  };
}

async function countByStatus(rows: Transaction, kind: RunKind, scope: Scope, filter: MetricsFilter): Promise<Record<RunStatus, number>> {
  const counted = await rows.$queryRaw<{ status: RunStatus; count: number }[]>`
    SELECT "status"::text, count(*)::int AS count FROM ${runTables[kind]} WHERE ${where(scope, filter)} GROUP BY "status"`;
  const counts = { ...zeroes };
  for (const { status, count } of counted) counts[status] = count;
  return counts;
}

function where(scope: Scope, { entityId, from, to, withoutDryRuns }: MetricsFilter): Prisma.Sql {
  const conditions = [entityIsInScope(scope)];
  if (withoutDryRuns === true) conditions.push(Prisma.sql`COALESCE("options"->>'dryRun', 'false') <> 'true'`);
  if (entityId !== undefined) conditions.push(Prisma.sql`"businessEntityId" = ${entityId}`);
  if (from !== undefined) conditions.push(Prisma.sql`"createdAt" >= ${from}::timestamptz`);
  if (to !== undefined) conditions.push(Prisma.sql`"createdAt" < ${to}::timestamptz`);
  return Prisma.join(conditions, ' AND ');
}
