import type { Transaction } from './open-database.ts';

/** The id of the table's only row. */
const theRow = { id: 1 };

/**
 * Notes that an admin has paused or resumed the service: what queues that were wiped are brought back to. The labels whose queues were
 * paused are kept when it is resumed, so that resuming may be repeated. Gives the labels that are noted now.
 */
export async function recordServicePause(tx: Transaction, isPaused: boolean, labels: readonly string[] = []): Promise<string[]> {
  if (!isPaused) {
    const { pausedLabels } = await tx.serviceState.upsert({ where: theRow, create: { ...theRow, isPaused }, update: { isPaused } });
    return pausedLabels;
  }
  const state = { isPaused, pausedLabels: [...labels] };
  await tx.serviceState.upsert({ where: theRow, create: { ...theRow, ...state }, update: state });
  return [...labels];
}

/** True when an admin has paused the service and nobody has resumed it since. */
export async function isServicePaused(rows: Transaction): Promise<boolean> {
  return (await rows.serviceState.findUnique({ where: theRow }))?.isPaused ?? false;
}

/**
 * Adds labels to those whose queues are paused, when the service is; gives all of them then, and null when it is not. Noted before the
 * queues are paused: whoever resumes the service finds them.
 */
export async function joinServicePause(rows: Transaction, labels: readonly string[]): Promise<string[] | null> {
  const found = await rows.$queryRaw<{ pausedLabels: string[] }[]>`
    UPDATE "service_state" SET "pausedLabels" = ARRAY(SELECT DISTINCT unnest("pausedLabels" || ${[...labels]}::text[]) ORDER BY 1)
    WHERE "id" = ${theRow.id} AND "isPaused" RETURNING "pausedLabels"`;
  return found[0]?.pausedLabels ?? null;
}
