// Backups and recoveries of a PostgreSQL server as a program, through what the worker's processors call.
//   holdfast-postgres-command.ts init REPOSITORY
//   holdfast-postgres-command.ts physical REPOSITORY PORT
//   holdfast-postgres-command.ts blocks REPOSITORY PORT       the server's incremental backup, on the newest snapshot
//   holdfast-postgres-command.ts logical REPOSITORY PORT
//   holdfast-postgres-command.ts wal REPOSITORY PORT SECONDS EVERY FILE   a run every so many seconds for so long, and a last one; FILE says what came of it
//   holdfast-postgres-command.ts recover REPOSITORY FOLDER    the newest snapshot, by a server that is started and stopped again
// The repository's password is in RESTIC_PASSWORD, the server's in PGPASSWORD. Exits 1 when anything was left out or not restored.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { join } from 'node:path';
import type { RunKind } from '../../libs/database/src/run-kinds.ts';
import type { Repository } from '../../libs/engine/src/repository.ts';
import { openLocalStorage } from '../../libs/storage/src/local/local-storage.ts';
import type { RunInHand } from '../../apps/worker/src/run-with-claim.ts';

const password = process.env['RESTIC_PASSWORD'] ?? '';
const owner = { hostname: hostname(), username: userInfo().username };
const [word = '', repositoryPath = '', place = ''] = process.argv.slice(2);
// Worker and processor always listen.
const onProgress = (): void => {};
/** Of a recovery, and of a connection. */
const limitMs = 600_000;
/** The key file is read by then, and another thread derives the key: code that comes in holds this one. */
const untilDerivingMs = 10;
/** A row would have it. */
const jobId = 'bench';
/** In place of the row of a base backup: its snapshot, and what it says of itself. */
const rowPath = `${repositoryPath}.row.json`;

switch (word) {
  case 'init': {
    const { createRepository } = await import('../../libs/engine/src/create-repository.ts');
    await (await createRepository({ storage: await openLocalStorage({ path: repositoryPath }), password, ...owner })).close();
    break;
  }
  case 'physical':
    await withRepository((repository) => backUpBase(repository, false), loadBase);
    break;
  case 'blocks':
    await withRepository((repository) => backUpBase(repository, true), loadBase);
    break;
  case 'logical':
    await withRepository(backUpLogical, loadLogical);
    break;
  case 'wal':
    await withRepository(archiveLog);
    break;
  case 'recover':
    await recover();
    break;
  default:
    throw new Error(`no such word: ${word}`);
}

// Each word loads what it needs and no more, as a program of its own would.

async function open(): Promise<Repository> {
  const { openRepository } = await import('../../libs/engine/src/repository.ts');
  return await openRepository({ storage: await openLocalStorage({ path: repositoryPath }), password });
}

/** `load` goes on while the key is derived from the password: a worker has its code long before that. */
async function withRepository(
  work: (repository: Repository) => Promise<void>,
  load: () => Promise<unknown> = async () => {},
): Promise<void> {
  const opening = open();
  opening.catch(() => undefined);
  await delay(untilDerivingMs);
  await load();
  await using repository = await opening;
  await work(repository);
}

function connection() {
  const tls = { mode: 'disable' } as const;
  return { host: '127.0.0.1', port: Number(place), user: 'postgres', password: process.env['PGPASSWORD'], database: 'postgres', tls };
}

async function newestSnapshot(repository: Repository) {
  const { listSnapshots } = await import('../../libs/engine/src/snapshots.ts');
  return (await listSnapshots(repository)).at(-1);
}

function loadBase() {
  return Promise.all([
    import('../../libs/engine/src/archive-stream.ts'),
    import('../../apps/worker/src/postgresql/base-store.ts'),
    import('../../apps/worker/src/postgresql/receive-base.ts'),
    import('../../libs/policy/src/recovery-facts.ts'),
    import('../../libs/engine/src/snapshots.ts'),
  ]);
}

async function backUpBase(repository: Repository, isIncremental: boolean): Promise<void> {
  const [
    { archiveStream },
    { baseBackupPaths, baseChunkBytes: fixedChunkBytes, baseInspection: inspection },
    { receiveBase },
    { encodeFacts },
  ] = await loadBase();
  const parent = await newestSnapshot(repository);
  const predecessor = isIncremental ? { jobId, manifest: await manifestOf(repository, parent?.id ?? '') } : null;
  const receiving = {
    connection: connection(),
    label: jobId,
    maxRateKiB: undefined,
    predecessor,
    onEstimate() {},
    onSuperuserUnknown() {},
  };
  const row: { snapshotId?: string; postgresql?: ReturnType<typeof encodeFacts> } = {};
  const receive: Parameters<typeof archiveStream>[0]['receive'] = async (sink, signal) => {
    const facts = await receiveBase(receiving, sink, signal);
    if (facts.badPageCount > 0) throw new Error(`${facts.badPageCount} bad pages`);
    row.postgresql = encodeFacts(facts);
  };
  const options = { repository, paths: baseBackupPaths, fixedChunkBytes, inspection, holdsRecords: true, receive, onProgress, ...owner };
  const result = await archiveStream(parent === undefined ? options : { ...options, parent });
  row.snapshotId = result.snapshotId;
  await writeFile(rowPath, JSON.stringify(row));
  finish(result);
}

async function manifestOf(repository: Repository, snapshotId: string): Promise<Buffer> {
  const { withSnapshotFiles } = await import('../../libs/engine/src/snapshot-files.ts');
  return await withSnapshotFiles({ repository, snapshotId }, async (files) => {
    const pieces: Uint8Array[] = [];
    for await (const piece of files.read('/data/backup_manifest')) pieces.push(piece);
    return Buffer.concat(pieces);
  });
}

function loadLogical() {
  return Promise.all([
    import('../../libs/engine/src/archiver.ts'),
    import('../../libs/sources/src/postgresql/logical/logical-source.ts'),
    import('../../libs/engine/src/store-tree.ts'),
  ]);
}

async function backUpLogical(repository: Repository): Promise<void> {
  const [{ archive }, { openLogicalSource }] = await loadLogical();
  const source = await openLogicalSource({
    connection: connection(),
    // The default of a config.
    connectionCount: 2,
    settings: { statementTimeoutMs: 0, lockTimeoutMs: limitMs },
    toolPlaces: {},
    signal: new AbortController().signal,
  });
  try {
    finish(await archive({ repository, source, onProgress, ...owner }));
  } finally {
    await source.close();
  }
}

/** As a WAL config does it with a schedule of seconds. */
async function archiveLog(repository: Repository): Promise<void> {
  const { connectDatabase, connectWire } = await import('../../libs/sources/src/postgresql/connect.ts');
  const { formatLsn, parseLsn } = await import('../../libs/sources/src/postgresql/lsn.ts');
  const { createSlot, dropSlot, readSlotPosition } = await import('../../libs/sources/src/postgresql/wal/replication-slot.ts');
  const { archiveWal } = await import('../../apps/worker/src/postgresql/archive-wal.ts');
  const [seconds = '', every = '', file = ''] = process.argv.slice(5);
  const slot = 'holdfast_bench';
  const about = { place: slot, configId: slot, baseConfigId: slot };
  await using sql = await connectDatabase(connection());
  const flushedLsn = async (): Promise<bigint> =>
    parseLsn((await sql.query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn() AS lsn'))[0]?.lsn ?? '');
  const openWire = () => connectWire(connection(), { mode: 'replication' });
  const start = await (async () => {
    await using wire = await openWire();
    await createSlot(wire, slot);
    return await readSlotPosition(wire, slot);
  })();
  if (start === null) throw new Error('the slot is not there');
  let end = { timeline: start.timeline, lsn: start.restartLsn };
  const archive = async (): Promise<void> => {
    await using wire = await openWire();
    const storing = { repository, onProgress, ...owner };
    const { facts } = await archiveWal({ storing, wire, sql, slot, place: end, about, nowMs: () => Date.now() });
    const last = facts.pieces.at(-1);
    if (last !== undefined) end = { timeline: last.timeline, lsn: last.toLsn };
    await sql.query('SELECT pg_replication_slot_advance($1, $2::pg_lsn)', [slot, formatLsn(end.lsn)]);
  };
  const startedAtMs = performance.now();
  const endsAtMs = startedAtMs + Number(seconds) * 1000;
  let runCount = 1;
  for (let nextAtMs = startedAtMs; nextAtMs < endsAtMs; runCount++) {
    await archive();
    nextAtMs = Math.max(nextAtMs + Number(every) * 1000, performance.now());
    await delay(Math.min(nextAtMs, endsAtMs) - performance.now());
  }
  const behindBytes = Number((await flushedLsn()) - end.lsn);
  const lastBeganAtMs = performance.now();
  await archive();
  const catchUpMs = performance.now() - lastBeganAtMs;
  await dropSlot(sql, slot);
  const bytes = Number(end.lsn - start.restartLsn);
  await writeFile(file, JSON.stringify({ runCount, bytes, behindBytes, catchUpMs }));
}

/**
 * As a recovery job with `start` does it, without counting rows: whoever compares does that. A worker has its code loaded: here the
 * repository is opened meanwhile.
 */
async function recover(): Promise<void> {
  await using closing = new AsyncDisposableStack();
  const opening = openForReading(closing);
  // Whoever lays the cluster hears of it.
  opening.catch(() => undefined);
  const { layCluster } = await import('../../apps/worker/src/postgresql/lay-cluster.ts');
  const { factsOf } = await import('../../libs/policy/src/recovery-facts.ts');
  const { planJobRecovery } = await import('../../libs/policy/src/recovery-request.ts');
  const { finishPhysicalTarget, preparePhysicalTarget } = await import('../../libs/sources/src/postgresql/recovery/physical-target.ts');
  const { startRecoveryServer } = await import('../../libs/sources/src/postgresql/recovery/recovery-server.ts');
  const { serverAccount } = await import('../../libs/sources/src/postgresql/recovery/server-account.ts');
  const { findServerPrograms } = await import('../../libs/sources/src/postgresql/recovery/server-programs.ts');
  const row = JSON.parse(await readFile(rowPath, 'utf8')) as { snapshotId: string };
  const facts = factsOf(row);
  if (facts === null) throw new Error(`${rowPath} says nothing of a base backup`);
  const plan = planJobRecovery([{ jobId, facts }], jobId, null);
  const { majorVersion, superuser, endLsn } = plan.base;
  const programs = await findServerPrograms({ majorVersion });
  const [dataDir, walDir, roots] = [join(place, 'data'), join(place, 'data-wal'), [place]];
  await mkdir(walDir);
  const { stop, timeline } = plan;
  const target = await preparePhysicalTarget({ dataDir, walDir, roots, stop, timeline, action: 'promote', owner: serverAccount() });
  const { signal } = new AbortController();
  const snapshots = { of: async () => ({ ...(await opening), snapshotId: row.snapshotId }) };
  await layCluster({ run: runInHand(signal), snapshots, plan, dataDir, walDir, roots, isScratch: false });
  await closing.disposeAsync();
  await finishPhysicalTarget(target);
  const scratchRoot = join(place, 'scratch');
  const server = { dataDir, scratchRoot, programs, superuser, signal, recoveryTimeoutMs: limitMs, leastLsn: endLsn, isScratch: false };
  await using started = await startRecoveryServer(server);
  console.log(JSON.stringify({ recoveredMs: started.recovered.durationMs }));
}

async function openForReading(closing: AsyncDisposableStack) {
  const { openReading } = await import('../../libs/engine/src/repository-reading.ts');
  const repository = closing.use(await open());
  return { repository, reading: closing.use(await openReading({ repository })) };
}

/** What laying a cluster takes of a run. */
function runInHand(signal: AbortSignal): RunInHand<RunKind> {
  const ignore = (): void => {};
  const context = { timing: { lockWaitMs: 0 }, clock: undefined };
  return { context, signal, onProgress, logger: { info: ignore, warn: ignore } } as unknown as RunInHand<RunKind>;
}

function finish(result: { readonly skippedCount: number; readonly warnings: readonly string[] }): void {
  console.log(JSON.stringify(result, null, 1));
  if (result.skippedCount > 0 || result.warnings.length > 0) process.exitCode = 1;
}
