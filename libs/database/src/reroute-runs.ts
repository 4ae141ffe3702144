import { copyWorkerLabel } from '@holdfast/policy/routing';
import { Prisma } from '../generated/client.ts';
import type { Transaction } from './open-database.ts';
import { repositoryLabels } from './repository-labels.ts';
import { runTables, type RunKind } from './run-kinds.ts';
import type { RunStatus } from './run-states.ts';

/** A run whose label has changed; its queue job, when it has one, is on the queue of `from`. */
export interface ReroutedRun {
  readonly kind: RunKind;
  readonly id: string;
  readonly status: RunStatus;
  readonly from: string | null;
  readonly to: string | null;
}

/** A run that is not over, with the label that it has and the one that it should have. */
interface Route {
  readonly id: string;
  readonly status: RunStatus;
  readonly from: string | null;
  readonly to: string | null;
}

const isUnfinished = Prisma.raw(`run."status" IN ('pending', 'queued', 'running')`);
const runColumns = Prisma.raw('run."id", run."status"::text, run."workerLabel" AS "from"');
/** A run that is just being committed is about to end, and nobody waits for it here. */
const locked = Prisma.raw('FOR NO KEY UPDATE OF run SKIP LOCKED');

/**
 * Gives each run that is not over the label that its config has now: backups, verifications and recoveries of the config, but for
 * recoveries whose request named a label; cleanups, copies and adoptions of the repositories. One that is running keeps its worker; if
 * that dies, the run goes on where its label leads. To be called in the transaction that changes a config. Repeating it is no error.
 */
export async function rerouteRuns(
  tx: Transaction,
  of: { readonly backupConfigId: string; readonly repositoryIds: readonly string[] },
): Promise<ReroutedRun[]> {
  const routes = await readRoutes(tx, of.backupConfigId, [...new Set(of.repositoryIds)]);
  const rerouted: ReroutedRun[] = [];
  for (const [kind, ofKind] of routes) {
    const changed = ofKind.filter(({ from, to }) => from !== to);
    for (const [to, runs] of Map.groupBy(changed, (run) => run.to)) {
      const ids = runs.map(({ id }) => id);
      await tx.$executeRaw`
        UPDATE ${runTables[kind]} SET "workerLabel" = ${to}, "waitingToldAt" = NULL, "updatedAt" = clock_timestamp()
        WHERE "id" = ANY(${ids}::text[])`;
    }
    rerouted.push(...changed.map((run) => ({ kind, ...run })));
  }
  return rerouted;
}

async function readRoutes(tx: Transaction, configId: string, repositoryIds: readonly string[]): Promise<[RunKind, Route[]][]> {
  const viaBackup = Prisma.sql`JOIN "backup_jobs" job ON job."id" = run."backupJobId" JOIN "backup_configs" config
    ON config."id" = job."backupConfigId" WHERE config."id" = ${configId} AND ${isUnfinished}`;
  return [
    [
      'backup',
      await tx.$queryRaw<Route[]>`
        SELECT ${runColumns}, config."workerLabel" AS "to" FROM "backup_jobs" run
        JOIN "backup_configs" config ON config."id" = run."backupConfigId" WHERE config."id" = ${configId} AND ${isUnfinished} ${locked}`,
    ],
    [
      'verify',
      await tx.$queryRaw<Route[]>`
        SELECT ${runColumns}, config."workerLabel" AS "to" FROM "backup_verifications" run ${viaBackup} ${locked}`,
    ],
    [
      'recovery',
      await tx.$queryRaw<Route[]>`
        SELECT ${runColumns}, config."workerLabel" AS "to" FROM "recovery_jobs" run ${viaBackup} AND NOT run."ownWorkerLabel" ${locked}`,
    ],
    ['cleanup', await readRepositoryRoutes(tx, 'cleanup', repositoryIds)],
    ['adopt', await readRepositoryRoutes(tx, 'adopt', repositoryIds)],
    ['copy', await readCopyRoutes(tx, repositoryIds)],
  ];
}

async function readRepositoryRoutes(tx: Transaction, kind: 'cleanup' | 'adopt', repositoryIds: readonly string[]): Promise<Route[]> {
  const labels = await repositoryLabels(tx, repositoryIds);
  const runs = await tx.$queryRaw<(Omit<Route, 'to'> & { repositoryId: string })[]>`
    SELECT ${runColumns}, run."repositoryId" FROM ${runTables[kind]} run
    WHERE run."repositoryId" = ANY(${[...repositoryIds]}::text[]) AND ${isUnfinished} ${locked}`;
  return runs.map(({ repositoryId, ...run }) => ({ ...run, to: labels.get(repositoryId) ?? null }));
}

async function readCopyRoutes(tx: Transaction, repositoryIds: readonly string[]): Promise<Route[]> {
  const ids = [...repositoryIds];
  const runs = await tx.$queryRaw<(Omit<Route, 'to'> & { source: string; target: string })[]>`
    SELECT ${runColumns}, run."sourceRepositoryId" AS "source", run."targetRepositoryId" AS "target" FROM "copy_jobs" run
    WHERE (run."sourceRepositoryId" = ANY(${ids}::text[]) OR run."targetRepositoryId" = ANY(${ids}::text[])) AND ${isUnfinished} ${locked}`;
  const labels = await repositoryLabels(
    tx,
    runs.flatMap(({ source, target }) => [source, target]),
  );
  return runs.map(({ source, target, ...run }) => ({
    ...run,
    to: copyWorkerLabel(labels.get(source) ?? null, labels.get(target) ?? null),
  }));
}
