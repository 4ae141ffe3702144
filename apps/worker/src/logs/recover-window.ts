import type { findRecoveryWork } from '@holdfast/database/recovery-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import { openReading } from '@holdfast/engine/repository-reading';
import { withSnapshotFiles, type SnapshotFiles } from '@holdfast/engine/snapshot-files';
import { listSnapshots } from '@holdfast/engine/snapshots';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from '@holdfast/sources/allowed-roots';
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { decompressorOf, isNoPlainText } from '@holdfast/sources/logs/log-reading';
import type { RecoveryOptions } from '@holdfast/sources/recovery-options';
import { printablePath } from '@holdfast/sources/system-path';
import type { Target, TargetNode } from '@holdfast/sources/target';
import { posix } from 'node:path';
import { Readable } from 'node:stream';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import { ownedTarget, rememberTarget } from '../owned-target.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { planWindow, type LogPiece, type LogWindow, type WindowedLog } from './plan-window.ts';

export interface WindowRecovery {
  readonly work: Awaited<ReturnType<typeof findRecoveryWork>>;
  readonly options: RecoveryOptions;
  readonly window: NonNullable<RecoveryOptions['window']>;
}

/** As many as a row lists of anything. */
const maxListed = 100;

/**
 * Writes what the runs of a window picked up: one file a log, `<target>/<where it was seen first>.<its name>`, with the log's bytes in their
 * order, each once and in plain text, whatever files they were in. Codes: path_outside_roots, target_not_empty, path_not_found for a window
 * without anything, repository_damaged, those of the storage.
 */
export async function recoverWindow(
  run: RunInHand<'recovery'>,
  { work, options, window }: WindowRecovery,
): Promise<RunOutcome<'recovery'>> {
  const { context, claim, signal } = run;
  const roots = context.config.targetRoots;
  const path = await resolveInsideRoots(work.targetLocation, roots);
  const isResumed = await ownedTarget(work.metadata, path);
  await using repository = await openRepositoryOf(run, work.backupJob.repository, { create: false, warm: false, cached: true });
  await using reading = await openReading({ ...lockOptionsOf(run), repository });
  const withFiles = (snapshotId: string, use: (files: SnapshotFiles) => Promise<void>): Promise<void> =>
    withSnapshotFiles({ ...lockOptionsOf(run), repository, snapshotId, reading }, use);

  const tag = `config:${work.backupJob.backupConfigId}`;
  const snapshots = (await listSnapshots(repository, { signal })).filter(({ tags }) => tags?.includes(tag));
  const planned = await planWindow(snapshots, momentsOf(window), withFiles);
  const { logs, runs, warnings } = planned;
  if (logs.length === 0) {
    throw new HoldfastError('path_not_found', 'no run of the window picked anything up', {
      hint: `the config has ${snapshots.length} snapshots; look at their times, and ask for a wider window`,
    });
  }
  const inner = openFileSystemTarget({ path, roots, overwrite: options.overwrite !== false || isResumed });
  const target = rememberTarget(inner, { path, database: context.database, claim });
  try {
    await target.open();
    await writeLogs(run, target, logs, withFiles);
  } finally {
    await target.close();
  }
  const bytes = logs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const listed = logs.slice(0, maxListed).map((log) => ({ path: printablePath(placeOf(log)), log: log.log, sizeBytes: log.sizeBytes }));
  const summary = {
    logCount: logs.length,
    bytes,
    runCount: runs.length,
    firstRunAt: timeOf(runs[0]),
    lastRunAt: timeOf(runs.at(-1)),
    logs: listed,
  };
  return {
    status: warnings.length > 0 ? 'completed_with_warnings' : 'completed',
    result: {
      recoveredRecords: BigInt(logs.length),
      metadata: { path, resumed: isResumed, window: summary, warnings: warnings.slice(0, maxListed) },
    },
  };
}

function momentsOf({ since, until }: WindowRecovery['window']): LogWindow {
  return {
    sinceMs: since === undefined ? Number.NEGATIVE_INFINITY : Date.parse(since),
    untilMs: until === undefined ? Number.POSITIVE_INFINITY : Date.parse(until),
  };
}

function timeOf(snapshot: { readonly timeNs: bigint } | undefined): string | null {
  return snapshot === undefined ? null : new Date(Number(snapshot.timeNs / 1_000_000n)).toISOString();
}

function placeOf({ origin, log }: WindowedLog): string {
  return `${origin}.${log}`;
}

type WithFiles = (snapshotId: string, use: (files: SnapshotFiles) => Promise<void>) => Promise<void>;

async function writeLogs(run: RunInHand<'recovery'>, target: Target, logs: readonly WindowedLog[], withFiles: WithFiles): Promise<void> {
  const bytesTotal = logs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let [filesDone, bytesDone] = [0, 0];
  const folders = new Set<string>();
  for (const log of logs) {
    const place = placeOf(log);
    await makeFolders(target, posix.dirname(place), folders);
    const file = await target.openFile(place, nodeOf(posix.basename(place), 'file', log.sizeBytes));
    let position = 0;
    for (const piece of log.pieces) {
      await withFiles(piece.snapshotId, async (files) => {
        for await (const bytes of bytesOf(files, piece)) {
          run.signal.throwIfAborted();
          await file.write(bytes, position);
          position += bytes.length;
          bytesDone += bytes.length;
          run.onProgress({ phase: 'reading', filesDone, filesTotal: logs.length, bytesDone, bytesTotal });
        }
      });
    }
    if (position !== log.sizeBytes)
      throw new HoldfastError('repository_damaged', `of ${place} there are ${position} of ${log.sizeBytes} bytes`);
    await file.close();
    filesDone++;
  }
}

async function makeFolders(target: Target, folder: string, made: Set<string>): Promise<void> {
  if (folder === '/' || made.has(folder)) return;
  await makeFolders(target, posix.dirname(folder), made);
  made.add(folder);
  await target.makeDirectory(folder, nodeOf(posix.basename(folder), 'dir', 0));
  await target.finishDirectory(folder, nodeOf(posix.basename(folder), 'dir', 0));
}

function nodeOf(name: string, type: 'file' | 'dir', sizeBytes: number): TargetNode {
  const nowNs = BigInt(Date.now()) * 1_000_000n;
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  return { name, type, mode: type === 'dir' ? 0o700 : 0o600, modifiedNs: nowNs, accessedNs: nowNs, ...owner, sizeBytes };
}

/** Errors: repository_damaged for a compressed file that cannot be unpacked. */
async function* bytesOf(files: SnapshotFiles, { path, encoding, fromByte, toByte }: LogPiece): AsyncGenerator<Uint8Array, void, undefined> {
  let position = encoding === undefined ? fromByte : 0;
  const plain = encoding === undefined ? files.read(path, fromByte) : unpacked(files.read(path), encoding, path);
  for await (const bytes of plain) {
    const part = bytes.subarray(Math.max(0, fromByte - position), Math.max(0, toByte - position));
    position += bytes.length;
    if (part.length > 0) yield part;
    if (position >= toByte) return;
  }
}

async function* unpacked(
  packed: AsyncIterable<Uint8Array>,
  encoding: NonNullable<LogPiece['encoding']>,
  path: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const source = Readable.from(packed);
  const plain = source.pipe(decompressorOf(encoding));
  // What goes wrong while reading ends the unpacking too.
  source.on('error', (error) => plain.destroy(error));
  try {
    for await (const bytes of plain) yield Buffer.from(bytes);
  } catch (error) {
    if (isNoPlainText(error)) throw new HoldfastError('repository_damaged', `${path} cannot be unpacked`, { cause: error });
    throw error;
  } finally {
    source.destroy();
    plain.destroy();
  }
}
