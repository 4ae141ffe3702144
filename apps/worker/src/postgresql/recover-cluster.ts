import type { RecoveryWork } from '@holdfast/database/recovery-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { planJobRecovery, recoveryTargetOf, type JobPlan } from '@holdfast/policy/recovery-request';
import { resolveInsideRoots } from '@holdfast/sources/allowed-roots';
import { formatLsn } from '@holdfast/sources/postgresql/lsn';
import { inspectServer } from '@holdfast/sources/postgresql/recovery/inspect-server';
import {
  assertApart,
  finishPhysicalTarget,
  preparePhysicalTarget,
  type FinishedTarget,
} from '@holdfast/sources/postgresql/recovery/physical-target';
import { startRecoveryServer } from '@holdfast/sources/postgresql/recovery/recovery-server';
import { serverAccount } from '@holdfast/sources/postgresql/recovery/server-account';
import { endOrphanServers } from '@holdfast/sources/postgresql/recovery/server-folder';
import { findServerPrograms, type ServerPrograms } from '@holdfast/sources/postgresql/recovery/server-programs';
import type { RecoveryOptions } from '@holdfast/sources/recovery-options';
import type { RunInHand } from '../run-with-claim.ts';
import { chainOfJob, withChainSnapshots } from './chain-of-job.ts';
import { layCluster, type Laid } from './lay-cluster.ts';
import { takeFolders } from './owned-folders.ts';

/** Replaying a week of WAL of a busy server takes hours; a day is a server that hangs. */
export const recoveryTimeoutMs = 24 * 3600 * 1000;
/** Rows are what the answer is: all of them are counted. */
const exactRowLimit = 1_000_000_000_000;
const countTimeoutMs = 6 * 3600 * 1000;
/** A row is read whole by every list. */
const maxListed = 100;

/**
 * Recovers a physical or incremental backup of a PostgreSQL server: a data folder that is ready to start, WAL in `<folder>-wal` beside it,
 * and with `start` recovered to its target and promoted by a server of the worker, which is ended again. Nothing is written before the
 * target is known to be covered, the server's programs to be there and all folders to be empty.
 * Codes: postgresql_target_uncovered, postgresql_chain_broken, postgresql_tool_missing, path_outside_roots, target_not_empty, those of
 * layCluster, finishPhysicalTarget and startRecoveryServer.
 */
export async function recoverCluster(
  run: RunInHand<'recovery'>,
  work: RecoveryWork,
  { pointInTime, start, tablespaces = {} }: RecoveryOptions,
): Promise<RunOutcome<'recovery'>> {
  const { context } = run;
  const chain = await chainOfJob(context.database.client, work.backupJob, work.fromRepositoryId ?? undefined);
  const target = pointInTime === undefined ? null : recoveryTargetOf(pointInTime);
  const plan = planJobRecovery(chain.facts, work.backupJob.id, target);
  const { postgresqlBinFolders, targetRoots: roots, scratchDir } = context.config;
  const programs = start ? await findServerPrograms({ majorVersion: plan.base.majorVersion, folders: postgresqlBinFolders }) : null;

  const dataDir = await resolveInsideRoots(work.targetLocation, roots);
  const walDir = await resolveInsideRoots(`${dataDir}-wal`, roots);
  const placed = new Map<string, string>();
  for (const [oid, path] of Object.entries(tablespaces)) placed.set(oid, await resolveInsideRoots(path, roots));
  const folders = [dataDir, walDir, ...placed.values()];
  assertApart(folders);
  const { resumed } = await takeFolders(run, work.metadata, folders);
  const prepared = await preparePhysicalTarget({
    dataDir,
    walDir,
    roots,
    tablespaces: placed,
    stop: plan.stop,
    timeline: plan.timeline,
    action: 'promote',
    ...(start ? { owner: serverAccount() } : {}),
  });

  const laying = { run, plan, dataDir, walDir, roots, isScratch: false };
  const laid = await withChainSnapshots(run, chain, (snapshots) => layCluster({ ...laying, snapshots }));
  const finished = await finishPhysicalTarget(prepared);
  const details = { path: dataDir, walDir, resumed, ...describe(plan, laid, finished) };
  if (programs === null && process.getuid?.() === 0)
    details.notes.push(`hand ${dataDir} and ${walDir} to the account that runs the server`);
  if (programs === null) {
    return { status: 'completed', result: { recoveredRecords: BigInt(laid.fileCount), metadata: details } };
  }
  await endOrphanServers(scratchDir);
  const started = await recoverByServer(run, plan, { dataDir, scratchDir, programs });
  const { findings, findingCount, rows, more } = started;
  const columns = {
    recoveredRecords: BigInt(rows),
    metadata: { ...details, ...more, findingCount, findings: findings.slice(0, maxListed) },
  };
  return { status: findingCount > 0 ? 'completed_with_warnings' : 'completed', result: columns };
}

async function recoverByServer(
  run: RunInHand<'recovery'>,
  plan: JobPlan,
  { dataDir, scratchDir, programs }: { readonly dataDir: string; readonly scratchDir: string; readonly programs: ServerPrograms },
) {
  const { signal } = run;
  await using server = await startRecoveryServer({
    dataDir,
    scratchRoot: scratchDir,
    programs,
    superuser: plan.base.superuser,
    signal,
    recoveryTimeoutMs,
    leastLsn: plan.base.endLsn,
    isScratch: false,
  });
  const { findings, findingCount, rowCount, isExact, notes, databases } = await inspectServer({
    connection: server.connection,
    isScratch: false,
    checksRelations: false,
    exactRowLimit,
    statementTimeoutMs: countTimeoutMs,
    totalTimeoutMs: countTimeoutMs,
    assertions: [],
    signal,
  });
  signal.throwIfAborted();
  // In order, and told of when that fails: what is left has to be a cluster that was shut down.
  await server.stop();
  const { durationMs, lsn, timeline, lastCommit } = server.recovered;
  const recovered = { seconds: durationMs / 1000, lsn: formatLsn(lsn), timeline, lastCommit };
  const counted = databases.slice(0, maxListed).map(({ name, bytes, rowCount: rows }) => ({ name, bytes, rows }));
  return {
    rows: rowCount,
    findings,
    findingCount,
    more: { recovered, rows: rowCount, isExact, databases: counted, inspectionNotes: notes },
  };
}

/** What of a plan the row tells. */
function describe({ timeline, backups, segments, stop }: JobPlan, { fileCount, bytes }: Laid, finished: FinishedTarget) {
  return {
    timeline,
    backups: backups.map(({ id }) => id),
    segmentCount: segments.length,
    stop: stop.kind,
    files: fileCount,
    bytes,
    majorVersion: finished.majorVersion,
    tablespaces: Object.fromEntries(finished.tablespaces),
    notes: finished.notes.slice(0, maxListed),
  };
}

/** A selection of tables needs them as rows, and a physical backup has the pages of a whole server. */
export function onlyLogical(jobId: string): HoldfastError {
  return new HoldfastError(
    'request_invalid',
    `backup job ${jobId} is physical: single databases and tables are recovered from logical backups only`,
    {
      hint: 'recover it to targetLocation, start a server there and copy the tables; or choose a logical backup',
    },
  );
}
