import type { RunOutcome } from '@holdfast/database/runs';
import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { openConfigurationSource } from '@holdfast/sources/configuration/configuration-source';
import type { ConfigurationSourceOptions } from '@holdfast/sources/source-options/configuration';
import { driftBetween, isDrifted, type Drift } from '../configuration/drift.ts';
import { ownRowFiles } from '../configuration/own-row-files.ts';
import { lockOptionsOf } from '../lock-options.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { archiveTree } from './archive-tree.ts';
import type { BackupWay } from './backup-way.ts';

type Completed = Extract<RunOutcome<'backup'>, { readonly status: 'completed' | 'completed_with_warnings' }>;

/** The event tells of a few; the row of the run has more. */
const maxEventEntries = 20;

/** Codes: those of openConfigurationSource, ownRowFiles and archiveTree. */
export const configurationWay: BackupWay<ConfigurationSourceOptions> = {
  backUp: async (run, work, options, storing) => {
    const { config, database } = run.context;
    const rows = options.ownRows ? await ownRowFiles(database, work.businessEntityId) : [];
    const source = await openConfigurationSource({ ...options, rows, roots: config.sourceRoots, signal: run.signal });
    const outcome = await archiveTree(run, { source, excludes: options.excludes ?? [] }, storing);
    const { counts: globs, unreadable } = source.matches;
    const warnings = unreadable.map(({ path, reason }) => `the folder ${path} could not be searched by globs (${reason})`);
    return isCompleted(outcome) ? noting(outcome, { globs }, warnings) : outcome;
  },

  /** What became of the configuration since its last snapshot. That it cannot be told is a warning: the snapshot is there. */
  complete: async (run, work, outcome, storing) => {
    const { previous } = storing;
    if (!isCompleted(outcome) || previous === undefined) return outcome;
    try {
      const afterId = outcome.result.snapshotId;
      const { repository } = storing.options;
      const drift = await driftBetween({ ...lockOptionsOf(run), repository, beforeId: previous.id, afterId, signal: run.signal });
      const noted = noting(outcome, { drift }, []);
      return isDrifted(drift) ? { ...noted, events: [driftedEvent(run, work, drift, afterId)] } : noted;
    } catch (error) {
      run.signal.throwIfAborted();
      const { code, message } = asHoldfastError(error);
      return noting(outcome, {}, [`what has changed since snapshot ${previous.id} cannot be told: ${code}: ${message}`]);
    }
  },
};

function isCompleted(outcome: RunOutcome<'backup'>): outcome is Completed {
  return outcome.status === 'completed' || outcome.status === 'completed_with_warnings';
}

function noting(outcome: Completed, more: Readonly<Record<string, unknown>>, warnings: readonly string[]): Completed {
  const { metadata } = outcome.result;
  const before: unknown = metadata['warnings'];
  const all = [...(Array.isArray(before) ? (before as unknown[]) : []), ...warnings];
  const status = warnings.length > 0 ? 'completed_with_warnings' : outcome.status;
  return { ...outcome, status, result: { ...outcome.result, metadata: { ...metadata, ...more, warnings: all } } };
}

function driftedEvent(
  { claim }: RunInHand<'backup'>,
  work: Parameters<typeof configurationWay.backUp>[1],
  drift: Drift,
  snapshotId: string,
) {
  const { since, files, rows, entries } = drift;
  return {
    businessEntityId: work.businessEntityId,
    type: 'configuration.drifted',
    subjectKind: 'configuration',
    subjectId: work.backupConfigId,
    data: { backupJobId: claim.id, snapshotId, since, files, rows, entries: entries.slice(0, maxEventEntries) },
  } as const;
}
