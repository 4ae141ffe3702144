import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunKind } from '@holdfast/database/run-kinds';
import { restore, warmRestore, type RestoreResult } from '@holdfast/engine/restorer';
import { withSnapshotFiles, type SnapshotFiles } from '@holdfast/engine/snapshot-files';
import { openThreadPool, type ThreadPool } from '@holdfast/engine/threads/thread-pool';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { JobPlan } from '@holdfast/policy/recovery-request';
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { combineBackups, type BackupEntry, type ListedBackupReader } from '@holdfast/sources/postgresql/recovery/combine';
import { folderWriter } from '@holdfast/sources/postgresql/recovery/folder-backup';
import { timelineHistoryName, walSegmentName } from '@holdfast/sources/postgresql/wal-segment';
import { lockOptionsOf } from '../lock-options.ts';
import type { RunInHand } from '../run-with-claim.ts';
import type { ChainSnapshots } from './chain-of-job.ts';

/**
 * Lays what a plan names out of the repository: a base backup, whole or combined of several, into the data folder, and WAL with history
 * files into the folder beside it. Snapshots hold `/data/…` or `/wal/…`.
 */
export interface LayOptions {
  readonly run: RunInHand<RunKind>;
  readonly snapshots: Pick<ChainSnapshots, 'of'>;
  readonly plan: JobPlan;
  /** Both are there and empty. */
  readonly dataDir: string;
  readonly walDir: string;
  /** That both are in. */
  readonly roots: readonly string[];
  /** True when all of it is thrown away soon: then nothing has to reach a disk. */
  readonly isScratch: boolean;
}

export interface Laid {
  readonly fileCount: number;
  readonly bytes: number;
}

const dataFolder = '/data';
const walFolder = '/wal';
/** Where the WAL of a base backup lies in its snapshot. */
const ownWalFolder = '/data/pg_wal';
const nsPerMs = 1_000_000n;

interface Laying extends LayOptions {
  /** For all of its restores. */
  readonly pool: ThreadPool;
}

/** Codes: repository_damaged, postgresql_chain_broken, postgresql_wal_missing, disk_full, those of the repository and the target. */
export async function layCluster(options: LayOptions): Promise<Laid> {
  await using pool = openThreadPool();
  const laying = { ...options, pool };
  const base = options.plan.backups.length > 1 ? await layCombined(laying) : await layWhole(laying);
  return await layWal(laying, base);
}

async function layWhole(options: Laying): Promise<Laid> {
  const { plan, dataDir, pool } = options;
  // They are up when the repository is locked.
  warmRestore(pool);
  const result = await restoreFolder(options, plan.backups[0]?.id ?? '', { folder: dataFolder, path: dataDir, before: nothing });
  return { fileCount: result.filesRestored, bytes: result.bytesRestored };
}

async function layCombined({ run, snapshots, plan, dataDir }: Laying): Promise<Laid> {
  const withChain = async (readers: readonly ListedBackupReader[], signal: AbortSignal): Promise<Laid> => {
    const next = plan.backups[readers.length];
    if (next === undefined) {
      const onProgress = ({ fileCount, bytes }: Laid): void => tell(run, { fileCount, bytes });
      return await combineBackups({ chain: readers, writer: folderWriter(dataDir), signal, onProgress });
    }
    return await withSnapshotFiles({ ...lockOptionsOf(run), signal, ...(await snapshots.of(next.id)) }, (files, inner) =>
      withChain([...readers, readerOf(files)], inner),
    );
  };
  const { fileCount, bytes } = await withChain([], run.signal);
  return { fileCount, bytes };
}

/** A base backup as it lies in its snapshot. */
function readerOf(files: SnapshotFiles): ListedBackupReader {
  return {
    entries: () => listFolder(files, ''),
    open: async (path) => {
      const file = await files.open(`${dataFolder}/${path}`);
      return file === null ? null : { sizeBytes: file.sizeBytes, read: (...at) => file.read(...at), close: async () => {} };
    },
  };
}

async function* listFolder(files: SnapshotFiles, folder: string): AsyncGenerator<BackupEntry> {
  for (const { name, type, modifiedNs } of await files.list(`${dataFolder}${folder}`)) {
    const path = `${folder}/${name}`;
    if (type !== 'dir' && type !== 'file') {
      throw new HoldfastError('postgresql_chain_broken', `${JSON.stringify(path)} in a base backup is neither a file nor a folder`);
    }
    yield { path: path.slice(1), type, modified: new Date(Number(modifiedNs / nsPerMs)) };
    if (type === 'dir') yield* listFolder(files, path);
  }
}

async function layWal(options: Laying, base: Laid): Promise<Laid> {
  const { plan, walDir } = options;
  const { segmentSizeBytes } = plan;
  const files = [
    ...plan.segments.map(({ jobId, isOfBase, timeline, startLsn }) => {
      return { jobId, folder: isOfBase ? ownWalFolder : walFolder, name: walSegmentName(timeline, startLsn, segmentSizeBytes) };
    }),
    ...plan.histories.map(({ jobId, timeline }) => ({ jobId, folder: walFolder, name: timelineHistoryName(timeline) })),
  ];
  let laid = base;
  for (const [jobId, ofJob] of Map.groupBy(files, (file) => file.jobId)) {
    const [{ folder } = { folder: walFolder }] = ofJob;
    const select = { paths: ofJob.map(({ name }) => `/${name}`) };
    const result = await restoreFolder(options, jobId, { folder, path: walDir, before: laid, select });
    laid = { fileCount: laid.fileCount + result.filesRestored, bytes: laid.bytes + result.bytesRestored };
  }
  for (const { jobId, name } of files) {
    const sizeBytes = await sizeOf(join(walDir, name));
    if (sizeBytes === (name.endsWith('.history') ? sizeBytes : segmentSizeBytes) && sizeBytes > 0) continue;
    throw new HoldfastError('postgresql_wal_missing', `backup job ${jobId} does not hold all of ${name}`);
  }
  return laid;
}

const nothing: Laid = { fileCount: 0, bytes: 0 };

async function restoreFolder(
  { run, snapshots, pool, roots, isScratch }: Laying,
  jobId: string,
  how: { readonly folder: string; readonly path: string; readonly before: Laid; readonly select?: { readonly paths: string[] } },
): Promise<RestoreResult> {
  const { folder, path, before, select } = how;
  const result = await restore({
    ...lockOptionsOf(run),
    ...(await snapshots.of(jobId)),
    pool,
    folder,
    ...(select === undefined ? {} : { select }),
    // The folder of WAL is filled out of several snapshots.
    // The server that is started over it syncs all files first.
    target: openFileSystemTarget({ path, roots, overwrite: select !== undefined, startsWriteback: !isScratch }),
    onProgress: (value) =>
      run.onProgress({ ...value, filesDone: before.fileCount + value.filesDone, bytesDone: before.bytes + value.bytesDone }),
  }).catch((error: unknown) => {
    if (select === undefined || !isHoldfastError(error, 'path_not_found')) throw error;
    throw new HoldfastError('postgresql_wal_missing', `backup job ${jobId} does not hold the WAL that its row tells of`, { cause: error });
  });
  const [failed] = result.failed;
  if (failed === undefined) return result;
  throw new HoldfastError(
    'repository_damaged',
    `${result.failedCount} files of backup job ${jobId} are damaged in the repository: ${failed.path}`,
    {
      hint: 'recover from another base backup; a checksum verification tells what else is hit',
    },
  );
}

function tell(run: RunInHand<RunKind>, { fileCount, bytes }: Laid): void {
  run.onProgress({ phase: 'restoring', filesDone: fileCount, filesTotal: null, bytesDone: bytes, bytesTotal: null });
}

/** 0 for a file that is not there. */
async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    (error: unknown) => {
      if (errnoCode(error) === 'ENOENT') return 0;
      throw error;
    },
  );
}
