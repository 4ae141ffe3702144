import { posix } from 'node:path';
import type { RecoveryWork } from '@holdfast/database/recovery-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import type { SelectOptions } from '@holdfast/engine/path-selection';
import type { Repository } from '@holdfast/engine/repository';
import { restore } from '@holdfast/engine/restorer';
import { loadSnapshot } from '@holdfast/engine/snapshots';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { isInsideRoots, resolveInsideRoots } from '@holdfast/sources/allowed-roots';
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import type { RecoveryOptions } from '@holdfast/sources/recovery-options';
import { lockOptionsOf } from './lock-options.ts';
import { openRepositoryOf } from './open-repository.ts';
import { ownedTarget, rememberTarget } from './owned-target.ts';
import { resolveOwners } from './resolve-owners.ts';
import { recoveryOutcome } from './run-outcomes.ts';
import type { RunInHand } from './run-with-claim.ts';

export interface FileRecovery {
  readonly work: RecoveryWork;
  readonly snapshotId: string;
  readonly options: RecoveryOptions;
}

/**
 * Recovers files into a folder inside the allowed target roots, or to where they came from when that is inside. A folder that holds
 * something is refused unless a policy for what is there was given, or what it holds is of a former attempt of this very run. A dry run
 * leaves everything as it is. Codes: path_outside_roots, request_invalid (owners, a folder that may not be cleared), those of restore.
 */
export async function recoverFiles(run: RunInHand<'recovery'>, recovery: FileRecovery): Promise<RunOutcome<'recovery'>> {
  const { context, claim, onProgress } = run;
  const { work, snapshotId, options } = recovery;
  const { overwrite, toOriginal, deletesExtra, dryRun, stripPrefix, stripComponents, prefix } = options;
  const roots = context.config.targetRoots;
  const owners = await resolveOwners(options.owners);
  const path = toOriginal ? '/' : await resolveInsideRoots(work.targetLocation, roots);
  const isResumed = !dryRun && (await ownedTarget(work.metadata, path));
  // What a former attempt has left whole has its size and time. Where others' files may lie too, the policy says what stays.
  const policy = typeof overwrite === 'string' ? overwrite : isResumed && !overwrite ? ('if-changed' as const) : undefined;

  await using repository = await openRepositoryOf(run, work.backupJob.repository, { create: false, warm: false, cached: true });
  const select = toOriginal ? await originalSelection(run, repository, recovery) : selectionOf(options);
  if (deletesExtra) await assertClearable(toOriginal ? (select.within ?? []) : [path], roots);
  const inner = openFileSystemTarget({
    path,
    // Where things came from is checked path by path: only what lies inside the roots is selected at all.
    roots: toOriginal ? ['/'] : roots,
    overwrite: overwrite !== false || isResumed,
    isShared: toOriginal,
  });
  const result = await restore({
    ...lockOptionsOf(run),
    repository,
    snapshotId,
    target: dryRun ? inner : rememberTarget(inner, { path, database: context.database, claim }),
    select,
    layout: { stripPrefix, stripComponents, prefix },
    overwrite: policy,
    deletesExtra,
    owners,
    listsRefused: true,
    isDryRun: dryRun,
    onProgress,
  });
  return recoveryOutcome(result, { path, resumed: isResumed, countsKept: isResumed && overwrite === false, dryRun });
}

function selectionOf({ paths, globs, excludes }: RecoveryOptions): SelectOptions {
  return { paths, globs, excludes };
}

/**
 * What goes back to where it came from: the paths that were asked for, or all that the snapshot says it is of, each inside the roots and
 * with no symlink on the way, and nothing else, whatever the snapshot holds. Code: path_outside_roots.
 */
async function originalSelection(
  run: RunInHand<'recovery'>,
  repository: Repository,
  { snapshotId, options }: FileRecovery,
): Promise<SelectOptions> {
  const { paths, globs, excludes } = options;
  const { targetRoots } = run.context.config;
  const needsAll = paths === undefined || globs !== undefined;
  const snapshot = needsAll ? await loadSnapshot(repository, snapshotId, { signal: run.signal }) : undefined;
  const within = [...(paths ?? []), ...(snapshot?.paths ?? [])];
  for (const path of within) {
    const real = await resolveInsideRoots(path, targetRoots);
    if (real === regular(path)) continue;
    throw new HoldfastError('path_outside_roots', `${JSON.stringify(path)} leads through a symlink to ${JSON.stringify(real)} now`, {
      hint: 'recover into a folder of its own, by targetLocation, and move it from there',
    });
  }
  return { ...(paths === undefined && globs === undefined ? { paths: within } : { paths, globs }), excludes, within };
}

/** A root is the operator's, with whatever else lies in it: no recovery clears it. Code: request_invalid. */
async function assertClearable(places: readonly string[], roots: readonly string[]): Promise<void> {
  const known = [...roots, ...(await Promise.all(roots.map((root) => resolveInsideRoots(root, [root]))))];
  for (const place of places) {
    const root = known.find((one) => isInsideRoots(one, [place]));
    if (root === undefined) continue;
    throw new HoldfastError('request_invalid', `deletesExtra is not for ${JSON.stringify(place)}, which holds the target root ${root}`, {
      hint: 'recover into a folder below the root, or leave deletesExtra out',
    });
  }
}

function regular(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}
