import { Prisma } from '../generated/client.ts';
import type { Transaction } from './open-database.ts';
import { runKinds, runTables, type RunKind } from './run-kinds.ts';

/** One answer lists at most this many: an operator has some dozens of labels, and the mistyped ones go with their runs. */
const maxLabelledQueues = 200;

export interface LabelledQueue {
  readonly kind: RunKind;
  readonly workerLabel: string;
}

/** The queues of labels that the rows have a use for: of runs that are owed or under way, and of the backups of live configs. */
export async function labelledQueuesInUse(rows: Transaction): Promise<LabelledQueue[]> {
  const ofRuns = runKinds.map(
    (kind) => Prisma.sql`SELECT ${kind} AS "kind", "workerLabel" FROM ${runTables[kind]} WHERE "status" IN ('queued', 'running')`,
  );
  return rows.$queryRaw<LabelledQueue[]>`
    SELECT DISTINCT "kind", "workerLabel" FROM (${Prisma.join(ofRuns, ' UNION ALL ')}
      UNION ALL SELECT 'backup', "workerLabel" FROM "backup_configs" WHERE "deletedAt" IS NULL AND "isActive") used
    WHERE "workerLabel" IS NOT NULL ORDER BY "workerLabel", "kind" LIMIT ${maxLabelledQueues}`;
}

/** The labels that some worker carries or some run asks for: those whose queues somebody may take jobs from. */
export async function labelsInUse(rows: Transaction): Promise<string[]> {
  const carried = await rows.$queryRaw<{ label: string }[]>`SELECT DISTINCT unnest("labels") AS "label" FROM "worker_processes"`;
  const asked = await labelledQueuesInUse(rows);
  return [...new Set([...carried.map(({ label }) => label), ...asked.map(({ workerLabel }) => workerLabel)])].toSorted();
}
