import { targetPassword, type RecoveryWork } from '@holdfast/database/recovery-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import { withSnapshotFiles, type SnapshotFiles } from '@holdfast/engine/snapshot-files';
import { assertAllowedHost } from '@holdfast/policy/allowed-hosts';
import { forgetRestore, restoreMysqlDatabase, type RestoredMysql } from '@holdfast/sources/mysql/restore/restore-database';
import { restoreMysqlTable } from '@holdfast/sources/mysql/restore/restore-table';
import type { ServerTarget } from '@holdfast/sources/recovery-options';
import { restoreKeys, type RestoredKeys } from '@holdfast/sources/redis/restore-keys';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { makeScratchFolder } from '../scratch-folder.ts';
import { filesOfPart } from './files-of-part.ts';
import { notedTarget, noteTarget } from './target-note.ts';

export interface ServerRecovery<T extends ServerTarget = ServerTarget> {
  readonly work: RecoveryWork;
  readonly snapshotId: string;
  readonly target: T;
  readonly overwrite: boolean;
}

type Mysql = Extract<ServerTarget, { readonly kind: 'mysql' }>;
type Redis = Extract<ServerTarget, { readonly kind: 'redis' }>;

/** A row is read whole by every list. */
const maxListed = 100;
/**
 * Recovers a part of an application's backup into a server of MariaDB, MySQL or Redis that runs. Codes: mysql_ and
 * redis_host_not_allowed, secret_unreadable, those of restoreMysqlDatabase, restoreMysqlTable and restoreKeys.
 */
export async function recoverServer(run: RunInHand<'recovery'>, recovery: ServerRecovery): Promise<RunOutcome<'recovery'>> {
  const { context, claim, logger } = run;
  const { work, snapshotId, target } = recovery;
  const code = target.kind === 'mysql' ? 'mysql_host_not_allowed' : 'redis_host_not_allowed';
  assertAllowedHost(target.connection, context.config.databaseHosts, code);
  const password = (await targetPassword(context.database.client, claim.id, context.masterKey)) ?? undefined;
  await using scratch = await makeScratchFolder(context.config.scratchDir, claim, logger);
  await using repository = await openRepositoryOf(run, work.backupJob.repository, { create: false, warm: false, cached: true });
  return await withSnapshotFiles({ ...lockOptionsOf(run), repository, snapshotId }, async (all, signal) => {
    const reading = { files: filesOfPart(all, target.part), password, scratch: scratch.path, signal };
    if (target.kind === 'mysql') return mysqlOutcome(await recoverMysql(run, { ...recovery, target }, reading), work.targetLocation);
    return redisOutcome(await recoverRedis(run, { ...recovery, target }, reading), work.targetLocation);
  });
}

interface Reading {
  readonly files: SnapshotFiles;
  readonly password: string | undefined;
  readonly scratch: string;
  readonly signal: AbortSignal;
}

async function recoverMysql(
  run: RunInHand<'recovery'>,
  { work, target, overwrite }: ServerRecovery<Mysql>,
  { files, password, scratch, signal }: Reading,
): Promise<RestoredMysql> {
  const { context, claim, onProgress } = run;
  const { connection, database, sourceDatabase, table, as } = target;
  const options = {
    files,
    connection: { ...connection, password },
    sourceDatabase,
    database,
    id: claim.id,
    programPlaces: { binFolders: context.config.mysqlBinFolders },
    scratch,
    onRestored: (restored: RestoredMysql) => noteTarget(run, { location: work.targetLocation, restored }),
    onProgress: (value: { filesDone: number; filesTotal: number; bytesDone: number }) =>
      onProgress({ phase: 'restoring', bytesTotal: value.bytesDone, ...value }),
    signal,
  };
  const restored = notedTarget(work)?.restored;
  if (restored !== undefined) {
    await forgetRestore(options);
    return restored;
  }
  return table === undefined ? await restoreMysqlDatabase({ ...options, overwrite }) : await restoreMysqlTable({ ...options, table, as });
}

async function recoverRedis(
  run: RunInHand<'recovery'>,
  { work, target, overwrite }: ServerRecovery<Redis>,
  { files, password, signal }: Reading,
): Promise<RestoredKeys> {
  const { onProgress } = run;
  const bytesTotal = (await files.list('/')).find(({ name }) => name === 'dump.rdb')?.sizeBytes ?? 0;
  return await restoreKeys({
    dump: files.read('/dump.rdb'),
    connection: { ...target.connection, password },
    keyPrefixes: target.keyPrefixes,
    overwrite: overwrite || notedTarget(work) !== undefined,
    onBegin: () => noteTarget(run, { location: work.targetLocation }),
    onProgress: ({ bytesDone }) =>
      onProgress({ phase: 'restoring', filesDone: 0, filesTotal: 1, bytesDone, bytesTotal: Math.max(bytesTotal, bytesDone) }),
    signal,
  });
}

/** Triggers, programs or views that could not be made fail the recovery, though all tables are there. */
function mysqlOutcome({ failed, warnings, ...counts }: RestoredMysql, location: string): RunOutcome<'recovery'> {
  const lists = { failedCount: failed.length, failed: failed.slice(0, maxListed), warnings: warnings.slice(0, maxListed) };
  const result = { recoveredRecords: BigInt(counts.tableCount), metadata: { location, ...counts, ...lists } };
  const [first] = failed;
  if (first === undefined) return { status: warnings.length > 0 ? 'completed_with_warnings' : 'completed', result };
  return {
    status: 'failed',
    error: { code: first.code, message: `all tables are there, but not all of ${first.what}: ${first.reason}` },
    result,
  };
}

function redisOutcome({ failed, ...counts }: RestoredKeys, location: string): RunOutcome<'recovery'> {
  const result = { recoveredRecords: BigInt(counts.keyCount), metadata: { location, ...counts, failed: [...failed] } };
  const [first] = failed;
  if (first === undefined) return { status: 'completed', result };
  const message = `${counts.failedCount} keys were not taken, the others are there: ${first.reason}`;
  return { status: 'failed', error: { code: 'redis_failed', message }, result };
}
