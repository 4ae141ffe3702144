import { Prisma } from '../generated/client.ts';
import type { Transaction } from './open-database.ts';
import type { RunKind } from './run-kinds.ts';

/** A worker whose heartbeat is older is shown as gone. */
export const workerSilentMs = 45_000;

/** Rows of workers that are gone are kept this long, for looking back after a crash. */
const sweepAfterMs = 24 * 60 * 60 * 1000;

export interface WorkerRun {
  readonly kind: RunKind;
  readonly id: string;
}

export interface WorkerRow {
  readonly id: string;
  readonly hostname: string;
  readonly pid: number;
  readonly startedAt: Date;
  readonly heartbeatAt: Date;
  readonly running: readonly WorkerRun[];
  /** Where it answers the API's browse requests; null when it does not. */
  readonly browseUrl: string | null;
  /** False when its last heartbeat is older than 45 s. */
  readonly isAlive: boolean;
}

/** Says that a worker process is there. `id` is its own choice and appears in claimedBy of its runs. */
export async function registerWorker(
  rows: Transaction,
  worker: { readonly id: string; readonly hostname: string; readonly pid: number; readonly browseUrl?: string | undefined },
): Promise<void> {
  const { id, hostname, pid, browseUrl = null } = worker;
  await rows.$executeRaw`
    INSERT INTO "worker_processes" ("id", "hostname", "pid", "browseUrl", "startedAt", "heartbeatAt", "running")
    VALUES (${id}, ${hostname}, ${pid}, ${browseUrl}, clock_timestamp(), clock_timestamp(), '[]'::jsonb)
    ON CONFLICT ("id") DO UPDATE SET "hostname" = excluded."hostname", "pid" = excluded."pid", "browseUrl" = excluded."browseUrl",
      "startedAt" = excluded."startedAt", "heartbeatAt" = excluded."heartbeatAt", "running" = excluded."running"`;
}

/** Gives false when the row is gone (swept, or another database): register again. */
export async function heartbeatWorker(rows: Transaction, id: string, running: readonly WorkerRun[]): Promise<boolean> {
  const inHand = JSON.stringify(running.map(({ kind, id: runId }) => ({ kind, id: runId })));
  const count = await rows.$executeRaw`
    UPDATE "worker_processes" SET "heartbeatAt" = clock_timestamp(), "running" = ${inHand}::jsonb WHERE "id" = ${id}`;
  return count > 0;
}

/** After an orderly end; nothing happens when the row is gone. */
export async function removeWorker(rows: Transaction, id: string): Promise<void> {
  await rows.workerProcess.deleteMany({ where: { id } });
}

/** All that are known, the longest running first. */
export async function listWorkers(rows: Transaction): Promise<WorkerRow[]> {
  return rows.$queryRaw<WorkerRow[]>(Prisma.sql`
    SELECT "id", "hostname", "pid", "startedAt", "heartbeatAt", "running", "browseUrl",
      "heartbeatAt" > clock_timestamp() - ${workerSilentMs} * interval '1 millisecond' AS "isAlive"
    FROM "worker_processes" ORDER BY "startedAt", "id"`);
}

/** Drops workers that have been silent for a day; gives how many. */
export async function sweepWorkers(rows: Transaction): Promise<number> {
  return rows.$executeRaw`
    DELETE FROM "worker_processes" WHERE "heartbeatAt" < clock_timestamp() - ${sweepAfterMs} * interval '1 millisecond'`;
}
