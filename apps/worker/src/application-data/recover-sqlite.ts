import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecoveryWork } from '@holdfast/database/recovery-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import { withSnapshotFiles, type SnapshotFiles } from '@holdfast/engine/snapshot-files';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from '@holdfast/sources/allowed-roots';
import type { SqliteTarget } from '@holdfast/sources/recovery-options';
import { putDatabase } from '@holdfast/sources/sqlite/put-database';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { makeScratchFolder } from '../scratch-folder.ts';
import { filesOfPart } from './files-of-part.ts';
import { notedTarget, noteTarget } from './target-note.ts';

export interface SqliteRecovery {
  readonly work: RecoveryWork;
  readonly snapshotId: string;
  readonly target: SqliteTarget;
  readonly overwrite: boolean;
}

/**
 * Puts a SQLite part into a database that may be in use: the copy is fetched into the scratch folder, looked at, and becomes the content of the
 * database in one transaction. An attempt that died has left the old content or the
 * new one, and what was not there before is its own. Codes: path_outside_roots, path_not_found (no such part), those of putDatabase.
 */
export async function recoverSqlite(run: RunInHand<'recovery'>, recovery: SqliteRecovery): Promise<RunOutcome<'recovery'>> {
  const { context, claim, logger } = run;
  const { work, snapshotId, target, overwrite } = recovery;
  const to = await resolveInsideRoots(target.path, context.config.targetRoots);
  await using scratch = await makeScratchFolder(context.config.scratchDir, claim, logger);
  const from = join(scratch.path, 'copy.db');
  await using repository = await openRepositoryOf(run, work.backupJob.repository, { create: false, warm: false, cached: true });
  const bytes = await withSnapshotFiles({ ...lockOptionsOf(run), repository, snapshotId }, (files) =>
    fetchDatabase(run, filesOfPart(files, target.part), { part: target.part, from }),
  );
  const patienceMs = target.patienceSeconds * 1000;
  const { facts, findings } = await putDatabase({
    from,
    to,
    shownPath: target.path,
    overwrite: overwrite || notedTarget(work) !== undefined,
    onBegin: () => noteTarget(run, { location: work.targetLocation }),
    patienceMs,
    signal: run.signal,
  });
  const metadata = { location: target.path, part: target.part, bytes, ...facts, warnings: findings };
  return { status: findings.length > 0 ? 'completed_with_warnings' : 'completed', result: { recoveredRecords: 1n, metadata } };
}

/** Gives the bytes. */
async function fetchDatabase(
  { onProgress, signal }: RunInHand<'recovery'>,
  files: SnapshotFiles,
  { part, from }: { readonly part: string; readonly from: string },
): Promise<number> {
  const [found, ...more] = await files.list('/');
  if (found?.type !== 'file' || more.length > 0) {
    throw new HoldfastError('request_invalid', `part ${JSON.stringify(part)} of the backup is no SQLite database`);
  }
  await using copy = await open(from, 'wx', 0o600);
  let bytesDone = 0;
  for await (const bytes of files.read(`/${found.name}`)) {
    signal.throwIfAborted();
    await copy.writeFile(bytes);
    bytesDone += bytes.length;
    onProgress({ phase: 'restoring', filesDone: 0, filesTotal: 1, bytesDone, bytesTotal: found.sizeBytes });
  }
  return bytesDone;
}
