import { targetPassword, type RecoveryWork } from '@holdfast/database/recovery-jobs';
import { writeResult } from '@holdfast/database/run-results';
import { commitUnderFence, type RunOutcome } from '@holdfast/database/runs';
import { withSnapshotFiles } from '@holdfast/engine/snapshot-files';
import { assertAllowedHost } from '@holdfast/policy/allowed-hosts';
import { restoreDatabase, type RestoredDatabase } from '@holdfast/sources/postgresql/logical/restore/restore-database';
import { restoreTables } from '@holdfast/sources/postgresql/logical/restore/restore-tables';
import type { DatabaseTarget } from '@holdfast/sources/recovery-options';
import { z } from 'zod';
import { lockOptionsOf } from './lock-options.ts';
import { openRepositoryOf } from './open-repository.ts';
import { filesOfPart } from './application-data/files-of-part.ts';
import type { RunInHand } from './run-with-claim.ts';

export interface DatabaseRecovery {
  readonly work: RecoveryWork;
  readonly snapshotId: string;
  readonly target: DatabaseTarget;
  readonly overwrite: boolean;
}

const defaultConnectionCount = 4;
const defaultLockTimeoutSeconds = 60;
/** A row is read whole by every list. */
const maxListed = 100;

/** Which database a former attempt of this run began to fill, as rememberTarget does it for folders. */
const noteSchema = z.object({ target: z.object({ location: z.string(), oid: z.string() }) });

/**
 * Recovers a logical backup into a database: the whole of it, or chosen tables into one that is in use. Codes:
 * postgresql_host_not_allowed, secret_unreadable, those of restoreDatabase and restoreTables.
 */
export async function recoverDatabase(run: RunInHand<'recovery'>, recovery: DatabaseRecovery): Promise<RunOutcome<'recovery'>> {
  const { context, claim, onProgress } = run;
  const { work, snapshotId, target, overwrite } = recovery;
  const { connection, connections = defaultConnectionCount, lockTimeoutSeconds = defaultLockTimeoutSeconds } = target;
  assertAllowedHost(connection, context.config.databaseHosts, 'postgresql_host_not_allowed');
  const password = (await targetPassword(context.database.client, claim.id, context.masterKey)) ?? undefined;
  const note = noteSchema.safeParse(work.metadata).data?.target;
  const location = work.targetLocation;
  await using repository = await openRepositoryOf(run, work.backupJob.repository, { create: false, warm: false, cached: true });
  const restored = await withSnapshotFiles({ ...lockOptionsOf(run), repository, snapshotId }, async (files, signal) => {
    const common = {
      files: target.part === undefined ? files : filesOfPart(files, target.part),
      connection: { ...connection, password, applicationName: 'holdfast recovery' },
      database: target.database,
      sourceDatabase: target.sourceDatabase,
      overwrite,
      connectionCount: connections,
      lockTimeoutMs: lockTimeoutSeconds * 1000,
      toolPlaces: { binFolders: context.config.postgresqlBinFolders },
      onProgress: (value: { filesDone: number; filesTotal: number; bytesDone: number; bytesTotal: number }) =>
        onProgress({ phase: 'restoring', ...value }),
      signal,
    };
    const { schemas, tables, content } = target;
    if (work.recoveryType === 'selective') return await restoreTables({ ...common, schemas, tables, content, id: claim.id });
    const remember = (oid: string): Promise<void> =>
      commitUnderFence(context.database, claim, (tx) => writeResult(tx, 'recovery', claim.id, { metadata: { target: { location, oid } } }));
    return await restoreDatabase({
      ...common,
      globals: target.globals,
      ownOid: note?.location === location ? note.oid : undefined,
      onTarget: remember,
    });
  });
  return databaseOutcome(restored, location);
}

/** Tables that could not be filled fail the recovery, though all others are there. */
function databaseOutcome({ rowCount, failed, warnings, ...counts }: RestoredDatabase, location: string): RunOutcome<'recovery'> {
  const lists = { failedCount: failed.length, failed: failed.slice(0, maxListed), warnings: warnings.slice(0, maxListed) };
  const columns = { recoveredRecords: BigInt(rowCount), metadata: { location, ...counts, rows: rowCount, ...lists } };
  const [first] = failed;
  if (first === undefined) return { status: warnings.length > 0 ? 'completed_with_warnings' : 'completed', result: columns };
  const message = `${failed.length} of ${failed.length + counts.tableCount} tables could not be filled, the others are: ${first.reason}`;
  return { status: 'failed', error: { code: first.code, message }, result: columns };
}
