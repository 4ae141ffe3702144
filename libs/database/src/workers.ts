import { Prisma } from '../generated/client.ts';
import type { Transaction } from './open-database.ts';
import type { RunKind } from './run-kinds.ts';

/** A worker whose heartbeat is older is shown as gone. */
export const workerSilentMs = 45_000;

/** Rows of workers that are gone are kept this long, for looking back after a crash. */
const sweepAfterMs = 24 * 60 * 60 * 1000;
/** A run that waits for a label nobody has carried for longer says that it waits since it was queued. */
const keepLabelMs = 30 * 24 * 60 * 60 * 1000;

/** In worker_labels, of runs that name no label. */
export const anyLabel = '';

export interface WorkerIdentity {
  readonly id: string;
  readonly hostname: string;
  readonly pid: number;
  readonly browseUrl?: string | undefined;
  readonly labels?: readonly string[];
  readonly labelsOnly?: boolean;
}

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
  /** What it can reach, in the operator's words. */
  readonly labels: readonly string[];
  /** True for one that takes no runs but those that name one of its labels. */
  readonly labelsOnly: boolean;
  /** False when its last heartbeat is older than 45 s. */
  readonly isAlive: boolean;
}

/** Says that a worker process is there. `id` is its own choice and appears in claimedBy of its runs. */
export async function registerWorker(rows: Transaction, worker: WorkerIdentity): Promise<void> {
  const { id, hostname, pid, browseUrl = null, labels = [], labelsOnly = false } = worker;
  await rows.$executeRaw`
    INSERT INTO "worker_processes" ("id", "hostname", "pid", "browseUrl", "startedAt", "heartbeatAt", "running", "labels", "labelsOnly")
    VALUES (${id}, ${hostname}, ${pid}, ${browseUrl}, clock_timestamp(), clock_timestamp(), '[]'::jsonb, ${[...labels]}::text[], ${labelsOnly})
    ON CONFLICT ("id") DO UPDATE SET "hostname" = excluded."hostname", "pid" = excluded."pid", "browseUrl" = excluded."browseUrl",
      "startedAt" = excluded."startedAt", "heartbeatAt" = excluded."heartbeatAt", "running" = excluded."running",
      "labels" = excluded."labels", "labelsOnly" = excluded."labelsOnly"`;
  await noteServed(rows, id);
}

/** Gives false when the row is gone (swept, or another database): register again. */
export async function heartbeatWorker(rows: Transaction, id: string, running: readonly WorkerRun[]): Promise<boolean> {
  const inHand = JSON.stringify(running.map(({ kind, id: runId }) => ({ kind, id: runId })));
  const count = await rows.$executeRaw`
    UPDATE "worker_processes" SET "heartbeatAt" = clock_timestamp(), "running" = ${inHand}::jsonb WHERE "id" = ${id}`;
  if (count > 0) await noteServed(rows, id);
  return count > 0;
}

/** After an orderly end; nothing happens when the row is gone. */
export async function removeWorker(rows: Transaction, id: string): Promise<void> {
  await noteServed(rows, id);
  await rows.workerProcess.deleteMany({ where: { id } });
}

/** Until when there was a worker for a label outlives the worker's row. In the order of labels: two workers must not wait for each other. */
async function noteServed(rows: Transaction, id: string): Promise<void> {
  await rows.$executeRaw`
    INSERT INTO "worker_labels" ("label", "lastServedAt")
    SELECT served."label", clock_timestamp() FROM "worker_processes" worker,
      unnest(worker."labels" || CASE WHEN worker."labelsOnly" THEN ARRAY[]::text[] ELSE ARRAY[${anyLabel}] END) AS served("label")
    WHERE worker."id" = ${id} ORDER BY served."label"
    ON CONFLICT ("label") DO UPDATE SET "lastServedAt" = excluded."lastServedAt"`;
}

/** All that are known, the longest running first. */
export async function listWorkers(rows: Transaction): Promise<WorkerRow[]> {
  return rows.$queryRaw<WorkerRow[]>(Prisma.sql`
    SELECT "id", "hostname", "pid", "startedAt", "heartbeatAt", "running", "labels", "labelsOnly", "browseUrl",
      "heartbeatAt" > clock_timestamp() - ${workerSilentMs} * interval '1 millisecond' AS "isAlive"
    FROM "worker_processes" ORDER BY "startedAt", "id"`);
}

/** Drops workers that have been silent for a day; gives how many. */
export async function sweepWorkers(rows: Transaction): Promise<number> {
  await rows.$executeRaw`
    DELETE FROM "worker_labels" WHERE "lastServedAt" < clock_timestamp() - ${keepLabelMs} * interval '1 millisecond'`;
  return rows.$executeRaw`
    DELETE FROM "worker_processes" WHERE "heartbeatAt" < clock_timestamp() - ${sweepAfterMs} * interval '1 millisecond'`;
}
