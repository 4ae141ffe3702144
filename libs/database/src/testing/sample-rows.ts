import { createBackupConfig, type BackupConfigInput, type BackupConfigRow } from '../backup-configs.ts';
import { createBackupJob, type BackupJobRow } from '../backup-jobs.ts';
import { createEntity, type EntityRow } from '../entities.ts';
import { inTransaction } from '../in-transaction.ts';
import type { Database } from '../open-database.ts';
import type { RunKind, RunResults } from '../run-kinds.ts';
import { claimRun, finishRun, type Claim } from '../runs.ts';
import { parseMasterKey } from '../sealed-secret.ts';

/** A key for tests only. */
export const sampleMasterKey = parseMasterKey(Buffer.alloc(32, 1).toString('base64'));

export const sampleResult: RunResults['backup'] = {
  snapshotId: 'a'.repeat(64),
  filePath: `/backups/snapshots/${'a'.repeat(64)}`,
  fileSize: 5_000_000_000n,
  checksum: 'b'.repeat(64),
  metadata: { fileCount: 3 },
};

let entityCount = 0;

/** An entity with a name that no other has. */
export async function sampleEntity(db: Database): Promise<EntityRow> {
  return inTransaction(db, (tx) => createEntity(tx, { name: `entity ${process.pid} ${entityCount++}` }));
}

/** A config of the entity, or of a new one, with whatever is given changed. */
export async function sampleConfig(db: Database, changes: Partial<BackupConfigInput> = {}): Promise<BackupConfigRow> {
  const businessEntityId = changes.businessEntityId ?? (await sampleEntity(db)).id;
  const input: BackupConfigInput = {
    businessEntityId,
    name: 'documents',
    backupType: 'file_system',
    source: { type: 'file_system', paths: ['/srv/documents'] },
    retentionDays: 30,
    storageLocation: 'local',
    storageOptions: { type: 'local', path: '/backups' },
    locationKey: 'local:/backups',
    ...changes,
  };
  return inTransaction(db, (tx) => createBackupConfig(tx, '*', input, sampleMasterKey));
}

/** A backup job of the config, or of a new one; owed unless told otherwise. */
export async function sampleBackup(
  db: Database,
  options: { readonly backupConfigId?: string; readonly execute?: boolean } = {},
): Promise<BackupJobRow> {
  const backupConfigId = options.backupConfigId ?? (await sampleConfig(db)).id;
  const { row } = await inTransaction(db, (tx) => createBackupJob(tx, '*', { backupConfigId, execute: options.execute ?? true }));
  return row;
}

/** A backup job that has completed with a snapshot. */
export async function sampleCompletedBackup(db: Database, options: { readonly backupConfigId?: string } = {}): Promise<BackupJobRow> {
  const { id } = await sampleBackup(db, options);
  await finishRun(db, await sampleClaim(db, 'backup', id), { status: 'completed', result: sampleResult });
  return db.client.backupJob.findUniqueOrThrow({ where: { id } });
}

/** The claim of a run that must be there to be claimed. */
export async function sampleClaim<K extends RunKind>(db: Database, kind: K, id: string, workerId = 'sample'): Promise<Claim<K>> {
  const claim = await claimRun(db, kind, id, { workerId });
  if (claim === null) throw new Error(`${kind} run ${id} was not claimed`);
  return claim;
}
