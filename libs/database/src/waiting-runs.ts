import { waitingMessage, waitingSince, type WorkerRoute } from '@holdfast/policy/routing';
import { Prisma } from '../generated/client.ts';
import { inTransaction } from './in-transaction.ts';
import type { Database, Transaction } from './open-database.ts';
import { runKinds, runTables, type RunKind } from './run-kinds.ts';
import { appendRunEvent, type EventfulRun } from './runs.ts';
import { entityIsInScope, type Scope } from './scope.ts';
import { anyLabel, listWorkers } from './workers.ts';

/** Runs told of in one go, a kind: the next round tells the others. */
const maxToldPerKind = 500;

/** Who is there to do runs, and until when there was somebody for each label. */
export interface LabelService {
  readonly aliveWorkers: readonly WorkerRoute[];
  /** By label; of runs that name none under the empty one. */
  readonly lastServedAt: ReadonlyMap<string, Date>;
}

export async function readLabelService(rows: Transaction): Promise<LabelService> {
  const workers = await listWorkers(rows);
  const labels = await rows.workerLabel.findMany();
  return {
    aliveWorkers: workers.filter(({ isAlive }) => isAlive),
    lastServedAt: new Map(labels.map(({ label, lastServedAt }) => [label, lastServedAt])),
  };
}

/** Since when a queued run waits for a worker that may do it; null when there is one. */
export function runWaitsSince(run: { readonly workerLabel: string | null; readonly queuedAt: Date }, service: LabelService): Date | null {
  return waitingSince(run, service.aliveWorkers, service.lastServedAt.get(run.workerLabel ?? anyLabel));
}

export interface WaitingAlert {
  readonly workerLabel: string | null;
  readonly since: Date;
  readonly runCount: number;
}

/** The labels for which runs in the scope have waited for longer than `afterMs`, the longest first. */
export async function waitingAlerts(rows: Transaction, scope: Scope, afterMs: number, now: Date): Promise<WaitingAlert[]> {
  const queued = runKinds.map(
    (kind) => Prisma.sql`SELECT "workerLabel", "queuedAt" FROM ${runTables[kind]} WHERE "status" = 'queued' AND ${entityIsInScope(scope)}`,
  );
  const asked = await rows.$queryRaw<{ workerLabel: string | null; queuedAt: Date; runCount: number }[]>`
    SELECT "workerLabel", min("queuedAt") AS "queuedAt", count(*)::int AS "runCount"
    FROM (${Prisma.join(queued, ' UNION ALL ')}) run GROUP BY "workerLabel"`;
  if (asked.length === 0) return [];
  const service = await readLabelService(rows);
  const alerts = asked.flatMap(({ workerLabel, queuedAt, runCount }) => {
    const since = runWaitsSince({ workerLabel, queuedAt }, service);
    return since === null || since.getTime() > now.getTime() - afterMs ? [] : [{ workerLabel, since, runCount }];
  });
  return alerts.toSorted((a, b) => a.since.getTime() - b.since.getTime());
}

/**
 * Tells the event log of each run that has waited for longer than `afterMs` that it does (`backup.waiting_for_worker`), and of each that
 * was told of when a worker for it is there (`backup.worker_found`); a worker that takes the run says so by `backup.running`. The row
 * notes what was told in the same transaction, so any number of processes may look, and each thing is told once.
 * Gives the counts. Code: database_unreachable.
 */
export async function announceWaiting(
  db: Database,
  { afterMs }: { readonly afterMs: number },
): Promise<{ waitingCount: number; foundCount: number }> {
  return inTransaction(
    db,
    async (tx) => {
      const service = await readLabelService(tx);
      const labels = await queuedLabels(tx);
      // Queued at the beginning of time: what is asked is whether there is a worker.
      const unserved = labels.filter((workerLabel) => runWaitsSince({ workerLabel, queuedAt: new Date(0) }, service) !== null);
      const waiting = await Promise.all(
        runKinds.map(async (kind) => [kind, await noteWaiting(tx, kind, unserved, service, afterMs)] as const),
      );
      const found = await Promise.all(runKinds.map(async (kind) => [kind, await noteFound(tx, kind, unserved)] as const));
      // Last in the transaction, since events hold the numbering lock.
      for (const [kind, runs] of waiting) {
        for (const run of runs) await appendRunEvent(tx, kind, run, 'waiting_for_worker', waitingData(run, service));
      }
      for (const [kind, runs] of found) {
        for (const run of runs) await appendRunEvent(tx, kind, run, 'worker_found', { workerLabel: run.workerLabel });
      }
      return { waitingCount: countOf(waiting), foundCount: countOf(found) };
    },
    { repeatable: true },
  );
}

type WaitingRow = EventfulRun & { readonly workerLabel: string | null; readonly queuedAt: Date };

const waitingColumns = Prisma.raw(
  '"id", "businessEntityId", "status"::text, "attempt", "errorCode", "errorMessage", "workerLabel", "queuedAt"',
);

async function queuedLabels(tx: Transaction): Promise<(string | null)[]> {
  const queued = runKinds.map((kind) => Prisma.sql`SELECT "workerLabel" FROM ${runTables[kind]} WHERE "status" = 'queued'`);
  const rows = await tx.$queryRaw<
    { workerLabel: string | null }[]
  >`SELECT DISTINCT "workerLabel" FROM (${Prisma.join(queued, ' UNION ALL ')}) run`;
  return rows.map(({ workerLabel }) => workerLabel);
}

/** Runs that are being taken or cancelled now are left out. */
async function noteWaiting(
  tx: Transaction,
  kind: RunKind,
  unserved: readonly (string | null)[],
  { lastServedAt }: LabelService,
  afterMs: number,
): Promise<WaitingRow[]> {
  if (unserved.length === 0) return [];
  const labels = unserved.map((label) => label ?? anyLabel);
  const servedAt = labels.map((label) => lastServedAt.get(label) ?? new Date(0));
  return tx.$queryRaw<WaitingRow[]>`
    UPDATE ${runTables[kind]} SET "waitingToldAt" = clock_timestamp() WHERE "id" IN (
      SELECT run."id" FROM ${runTables[kind]} run
      JOIN unnest(${labels}::text[], ${servedAt}::timestamptz[]) AS unserved(label, at) ON COALESCE(run."workerLabel", ${anyLabel}) = unserved.label
      WHERE run."status" = 'queued' AND run."waitingToldAt" IS NULL
        AND GREATEST(run."queuedAt", unserved.at) <= clock_timestamp() - ${afterMs} * interval '1 millisecond'
      ORDER BY run."queuedAt", run."id" LIMIT ${maxToldPerKind} FOR NO KEY UPDATE OF run SKIP LOCKED)
    RETURNING ${waitingColumns}`;
}

async function noteFound(tx: Transaction, kind: RunKind, unserved: readonly (string | null)[]): Promise<WaitingRow[]> {
  const labels = unserved.map((label) => label ?? anyLabel);
  return tx.$queryRaw<WaitingRow[]>`
    UPDATE ${runTables[kind]} SET "waitingToldAt" = NULL WHERE "id" IN (
      SELECT "id" FROM ${runTables[kind]}
      WHERE "status" = 'queued' AND "waitingToldAt" IS NOT NULL AND NOT COALESCE("workerLabel", ${anyLabel}) = ANY(${labels}::text[])
      LIMIT ${maxToldPerKind} FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING ${waitingColumns}`;
}

function waitingData(run: WaitingRow, service: LabelService): { workerLabel: string | null; since: string | null; message: string } {
  const since = runWaitsSince(run, service);
  return { workerLabel: run.workerLabel, since: since?.toISOString() ?? null, message: waitingMessage(run.workerLabel) };
}

function countOf(told: readonly (readonly [RunKind, readonly WaitingRow[]])[]): number {
  return told.reduce((sum, [, runs]) => sum + runs.length, 0);
}
