import type { Database, Transaction } from './open-database.ts';
import { runKinds, runTables, type RunKind } from './run-kinds.ts';
import { releaseRun } from './runs.ts';

/** A run that was under way, or owed, when the rows were backed up. */
export interface OwedAfterRescue {
  readonly kind: RunKind;
  readonly id: string;
  readonly businessEntityId: string;
}

interface RunningRow extends Omit<OwedAfterRescue, 'kind'> {
  readonly attempt: number;
  readonly fencingNumber: bigint;
}

/**
 * Gives back the runs that were under way when the rows were backed up: no worker has them any more. Those that were to be cancelled end as
 * cancelled. Gives how many. May be repeated. Code: database_unreachable.
 */
export async function releaseLostRuns(db: Database): Promise<number> {
  let count = 0;
  for (const kind of runKinds) {
    const rows = await db.client.$queryRaw<RunningRow[]>`
      SELECT "id", "businessEntityId", "attempt", "fencingNumber" FROM ${runTables[kind]} WHERE "status" = 'running' ORDER BY "id"`;
    for (const { id, attempt, fencingNumber } of rows) {
      const claim = { kind, id, attempt, fencingNumber };
      await releaseRun(db, claim, { code: 'run_interrupted', message: 'the service was lost while it ran, and rebuilt from a backup' });
      count++;
    }
  }
  return count;
}

/** Runs that workers will do as soon as the service starts. */
export async function runsOwedAfterRescue(rows: Transaction): Promise<OwedAfterRescue[]> {
  const owed: OwedAfterRescue[] = [];
  for (const kind of runKinds) {
    const found = await rows.$queryRaw<Omit<OwedAfterRescue, 'kind'>[]>`
      SELECT "id", "businessEntityId" FROM ${runTables[kind]} WHERE "status" = 'queued' ORDER BY "queuedAt", "id"`;
    owed.push(...found.map((row) => ({ ...row, kind })));
  }
  return owed;
}

export interface RescuedCounts {
  readonly entities: number;
  readonly configs: number;
  readonly scheduledConfigs: number;
  readonly copyConfigs: number;
  readonly plans: number;
  readonly backups: number;
  /** With a snapshot that is still kept. */
  readonly usableBackups: number;
}

export async function countRescuedRows(rows: Transaction): Promise<RescuedCounts> {
  const live = { deletedAt: null };
  return {
    entities: await rows.businessEntity.count(),
    configs: await rows.backupConfig.count({ where: live }),
    scheduledConfigs: await rows.backupConfig.count({ where: { ...live, isActive: true, schedule: { not: null } } }),
    copyConfigs: await rows.copyConfig.count({ where: live }),
    plans: await rows.disasterRecoveryPlan.count(),
    backups: await rows.backupJob.count(),
    usableBackups: await rows.backupJob.count({ where: { snapshotId: { not: null } } }),
  };
}
