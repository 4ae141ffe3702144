import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { findFiles } from '../glob-files.ts';
import { loadOwnerNames } from '../owner-names.ts';
import type { LogEntry } from './log-manifest.ts';
import { logsFolder } from './log-texts.ts';
import { momentOf } from './log-window.ts';
import { PlannedSource } from './planned-source.ts';
import { planLogs } from './plan-logs.ts';

export interface LogsSourceOptions {
  readonly globs: readonly string[];
  /** See log-window.ts. */
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  /** The allowed source roots. */
  readonly roots: readonly string[];
  /** The manifest of the config's last snapshot; null for none. */
  readonly before: readonly LogEntry[] | null;
  readonly startedAt: Date;
  readonly signal: AbortSignal;
}

/** The manifest of so many has some 50 MiB, which are in memory for a moment. */
const maxLogCount = 100_000;

/**
 * Finds the files, looks at those that have changed, and decides what of each is new: see planLogs. Each is shown as it was then, whole and at
 * its own path, and beside them what the run knows of each.
 * Errors: request_invalid (too many files), path_outside_roots, path_not_readable for a folder at which a glob begins, path_not_found when
 * there is no file at all and never was.
 */
export async function openLogsSource(options: LogsSourceOptions): Promise<PlannedSource> {
  const { globs, roots, startedAt, signal, before } = options;
  const found = await findFiles(globs, { roots, maxCount: maxLogCount, signal });
  if (found.files.some(({ path }) => path.startsWith(`${logsFolder}/`))) {
    throw new HoldfastError('request_invalid', `the globs take files in ${logsFolder}, where the snapshot has its own`);
  }
  const isInWindow = windowOf(options);
  const known = new Set((before ?? []).map(({ device, inode }) => `${device} ${inode}`));
  const files = found.files.filter((file) => isInWindow(file.modifiedNs) || known.has(`${file.device} ${file.inode}`));
  if (files.length === 0 && before === null) {
    throw new HoldfastError('path_not_found', `no file is there that the globs match: ${globs.join(' ')}`, {
      hint: 'look at the globs, and at since and until; * does not go into folders, ** does',
    });
  }
  const plan = await planLogs(files, before ?? [], { startedAt, signal });
  return new PlannedSource({
    bases: found.bases,
    plan: { ...plan, skipped: [...found.skipped, ...plan.skipped] },
    shown: plan.logs.filter(({ file }) => isInWindow(file.modifiedNs)),
    unmatchedGlobs: found.unmatched,
    owners: await loadOwnerNames(),
  });
}

function windowOf({ since, until, startedAt }: LogsSourceOptions): (modifiedNs: bigint) => boolean {
  const from = since === undefined ? null : BigInt(momentOf(since, startedAt)) * 1_000_000n;
  const to = until === undefined ? null : BigInt(momentOf(until, startedAt)) * 1_000_000n;
  return (modifiedNs) => (from === null || modifiedNs >= from) && (to === null || modifiedNs < to);
}
