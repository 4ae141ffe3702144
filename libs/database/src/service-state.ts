import type { Transaction } from './open-database.ts';

/** The id of the table's only row. */
const theRow = { id: 1 };

/** Notes that an admin has paused or resumed the service: what queues that were wiped are brought back to. */
export async function recordServicePause(tx: Transaction, isPaused: boolean): Promise<void> {
  await tx.serviceState.upsert({ where: theRow, create: { ...theRow, isPaused }, update: { isPaused } });
}

/** True when an admin has paused the service and nobody has resumed it since. */
export async function isServicePaused(rows: Transaction): Promise<boolean> {
  return (await rows.serviceState.findUnique({ where: theRow }))?.isPaused ?? false;
}
