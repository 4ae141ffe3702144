import type { Transaction } from './open-database.ts';

/** Notes that a config has a slot of this name; false when that is known already. Written before the slot is made. */
export async function claimReplicationSlot(rows: Transaction, backupConfigId: string, name: string): Promise<boolean> {
  const { count } = await rows.replicationSlot.createMany({ data: [{ backupConfigId, name }], skipDuplicates: true });
  return count === 1;
}

/** The config has no slot any more. May be repeated. */
export async function releaseReplicationSlot(rows: Transaction, backupConfigId: string): Promise<void> {
  await rows.replicationSlot.deleteMany({ where: { backupConfigId } });
}
