// Backups and recoveries of a PostgreSQL server as a program, through what the worker's processors call.
//   holdfast-postgres-command.ts init REPOSITORY
//   holdfast-postgres-command.ts physical REPOSITORY PORT
//   holdfast-postgres-command.ts blocks REPOSITORY PORT       the server's incremental backup, on the newest snapshot
//   holdfast-postgres-command.ts logical REPOSITORY PORT
//   holdfast-postgres-command.ts recover REPOSITORY FOLDER    the newest snapshot, to a server that is started and stopped again
// The repository's password is in RESTIC_PASSWORD, the server's in PGPASSWORD. Exits 1 when anything was left out or not restored.
import { mkdir } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Repository } from '../../libs/engine/src/repository.ts';
import { openLocalStorage } from '../../libs/storage/src/local-storage.ts';

const password = process.env['RESTIC_PASSWORD'] ?? '';
const owner = { hostname: hostname(), username: userInfo().username };
const [word = '', repositoryPath = '', place = ''] = process.argv.slice(2);
// Worker and processor always listen.
const onProgress = (): void => {};
/** Of a recovery, and of a connection. */
const limitMs = 600_000;
const majorOf = (serverVersion: number): number => Math.floor(serverVersion / 10_000);

switch (word) {
  case 'init': {
    const { createRepository } = await import('../../libs/engine/src/create-repository.ts');
    await (await createRepository({ storage: await openLocalStorage({ path: repositoryPath }), password, ...owner })).close();
    break;
  }
  case 'physical':
    await withRepository((repository) => backUpBase(repository, false));
    break;
  case 'blocks':
    await withRepository((repository) => backUpBase(repository, true));
    break;
  case 'logical':
    await withRepository(backUpLogical);
    break;
  case 'recover':
    await withRepository(recover);
    break;
  default:
    throw new Error(`no such word: ${word}`);
}

// Each word loads what it needs and no more, as a program of its own would.

async function withRepository(work: (repository: Repository) => Promise<void>): Promise<void> {
  const { openRepository } = await import('../../libs/engine/src/repository.ts');
  const repository = await openRepository({ storage: await openLocalStorage({ path: repositoryPath }), password });
  try {
    await work(repository);
  } finally {
    await repository.close();
  }
}

function connection() {
  const tls = { mode: 'disable' } as const;
  return { host: '127.0.0.1', port: Number(place), user: 'postgres', password: process.env['PGPASSWORD'], database: 'postgres', tls };
}

async function newestSnapshot(repository: Repository) {
  const { listSnapshots } = await import('../../libs/engine/src/snapshots.ts');
  return (await listSnapshots(repository)).at(-1);
}

async function backUpBase(repository: Repository, isIncremental: boolean): Promise<void> {
  const { archiveStream } = await import('../../libs/engine/src/archive-stream.ts');
  const { receiveBaseBackup } = await import('../../libs/sources/src/postgresql/base-backup/base-backup.ts');
  const { connectWire } = await import('../../libs/sources/src/postgresql/connect.ts');
  const { keepWalMeanwhile } = await import('../../libs/sources/src/postgresql/wal/replication-slot.ts');
  const { identifySystem } = await import('../../libs/sources/src/postgresql/wal/system-identity.ts');
  const { addText, baseBackupPaths, storeBaseBackup } = await import('../../apps/worker/src/postgresql/base-store.ts');
  const parent = await newestSnapshot(repository);
  const incrementalFrom = isIncremental ? await manifestOf(repository, parent?.id ?? '') : undefined;
  const receive: Parameters<typeof archiveStream>[0]['receive'] = async (sink, signal) => {
    await using wire = await connectWire(connection(), { mode: 'replication', signal });
    const { walSegmentSizeBytes: segmentSizeBytes } = await identifySystem(wire);
    await keepWalMeanwhile(wire);
    const entries = receiveBaseBackup(wire, { label: 'bench', checkpoint: 'fast', incrementalFrom, ownWal: { segmentSizeBytes } });
    const { end } = await storeBaseBackup(entries, sink, () => {});
    if (end.badPageCount > 0) throw new Error(`${end.badPageCount} bad pages`);
    await addText(sink, '/backup.json', JSON.stringify({ majorVersion: majorOf(wire.serverVersion) }), 0);
  };
  const options = { repository, paths: baseBackupPaths, receive, onProgress, ...owner };
  finish(await archiveStream(parent === undefined ? options : { ...options, parent }));
}

async function manifestOf(repository: Repository, snapshotId: string): Promise<Buffer> {
  return await readFile(repository, snapshotId, '/data/backup_manifest');
}

async function readFile(repository: Repository, snapshotId: string, path: string): Promise<Buffer> {
  const { withSnapshotFiles } = await import('../../libs/engine/src/snapshot-files.ts');
  return await withSnapshotFiles({ repository, snapshotId }, async (files) => {
    const pieces: Uint8Array[] = [];
    for await (const piece of files.read(path)) pieces.push(piece);
    return Buffer.concat(pieces);
  });
}

async function backUpLogical(repository: Repository): Promise<void> {
  const { archive } = await import('../../libs/engine/src/archiver.ts');
  const { openLogicalSource } = await import('../../libs/sources/src/postgresql/logical/logical-source.ts');
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

async function recover(repository: Repository): Promise<void> {
  const { restore } = await import('../../libs/engine/src/restorer.ts');
  const { openFileSystemTarget } = await import('../../libs/sources/src/file-system-target.ts');
  const { finishPhysicalTarget, preparePhysicalTarget } = await import('../../libs/sources/src/postgresql/recovery/physical-target.ts');
  const { startRecoveryServer } = await import('../../libs/sources/src/postgresql/recovery/recovery-server.ts');
  const { serverAccount } = await import('../../libs/sources/src/postgresql/recovery/server-account.ts');
  const { findServerPrograms } = await import('../../libs/sources/src/postgresql/recovery/server-programs.ts');
  const snapshotId = (await newestSnapshot(repository))?.id ?? '';
  const facts = JSON.parse((await readFile(repository, snapshotId, '/backup.json')).toString()) as { majorVersion: number };
  const [dataDir, walDir] = [join(place, 'data'), join(place, 'wal')];
  await mkdir(walDir, { recursive: true });
  // The backup has the WAL that it needs.
  const stop = { kind: 'immediate' } as const;
  const target = await preparePhysicalTarget({
    dataDir,
    walDir,
    roots: [place],
    stop,
    timeline: 1,
    action: 'promote',
    owner: serverAccount(),
  });
  const folder = openFileSystemTarget({ path: place, roots: [place], overwrite: true });
  const result = await restore({ repository, snapshotId, target: folder, select: { paths: ['/data'] }, onProgress });
  if (result.failedCount > 0) throw new Error(`${result.failedCount} files were not restored`);
  await finishPhysicalTarget(target);
  await using server = await startRecoveryServer({
    dataDir,
    scratchRoot: join(place, 'scratch'),
    programs: await findServerPrograms(facts),
    superuser: 'postgres',
    signal: new AbortController().signal,
    recoveryTimeoutMs: limitMs,
    isScratch: true,
  });
  console.log(JSON.stringify({ recoveredMs: server.recovered.durationMs }));
}

function finish(result: { readonly skippedCount: number; readonly warnings: readonly string[] }): void {
  console.log(JSON.stringify(result, null, 1));
  if (result.skippedCount > 0 || result.warnings.length > 0) process.exitCode = 1;
}
