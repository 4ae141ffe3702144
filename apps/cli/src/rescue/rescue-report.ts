import type { OwnDatabaseManifest } from '@holdfast/database/own-database-manifest';
import type { Transaction } from '@holdfast/database/open-database';
import { findRecoveryJob } from '@holdfast/database/recovery-jobs';
import { findRepositoryByResticId } from '@holdfast/database/repositories';
import { countRescuedRows, runsOwedAfterRescue, type OwedAfterRescue } from '@holdfast/database/rescued-rows';
import type { Snapshot } from '@holdfast/engine/snapshots';
import { formatCount } from '../format-amount.ts';
import type { CheckedRepository } from './check-repositories.ts';

/** Beyond it a list helps nobody; the console of the service has the rest. */
const maxListed = 20;
const nsPerMs = 1_000_000n;

/** Which snapshots there were to choose from. */
export function tellFound(snapshots: readonly Snapshot[], chosen: Snapshot, say: (text: string) => void): void {
  say(`${formatCount(snapshots.length)} snapshots of Holdfast's own database, the newest ones:`);
  for (const { id, timeNs, hostname = 'unknown' } of snapshots.slice(-maxListed)) {
    const time = new Date(Number(timeNs / nsPerMs)).toISOString();
    say(`  ${id.slice(0, 8)}  ${time}  ${hostname}${id === chosen.id ? '  <- this one' : ''}`);
  }
}

export interface Summary {
  readonly manifest: OwnDatabaseManifest;
  readonly repositories: readonly CheckedRepository[];
  /** Runs that were under way. */
  readonly releasedCount: number;
  /** The repository that the rescue read, by restic's id, and as it was named. */
  readonly openedId: string;
  readonly openedPlace: string;
  readonly stateFolder: string;
  readonly paused: boolean;
  /** Whether the database is one that the caller named. */
  readonly isExternal: boolean;
}

/** What somebody has to know who is about to start the service. */
export async function summaryText(rows: Transaction, summary: Summary): Promise<string> {
  const counts = await countRescuedRows(rows);
  const owed = await runsOwedAfterRescue(rows);
  const missing = summary.repositories.filter(({ state }) => state === 'not_there');
  return [
    '',
    `The service is as it was at ${summary.manifest.takenAt}:`,
    `  entities      ${formatCount(counts.entities)}`,
    `  configs       ${formatCount(counts.configs)}, of them with a schedule ${formatCount(counts.scheduledConfigs)}; copy configs ${formatCount(counts.copyConfigs)}; plans ${formatCount(counts.plans)}`,
    `  backups       ${formatCount(counts.backups)}, of them with a snapshot ${formatCount(counts.usableBackups)}`,
    `  repositories  ${formatCount(summary.repositories.length)}, of them not where the rows say ${formatCount(missing.length)}`,
    ...(await owedLines(rows, owed, summary)),
    ...(await movedLines(rows, summary, missing)),
    '',
    'What was backed up after that moment is in the repositories and not in the rows: POST /repositories/<id>/adopt takes it in.',
    '',
    'Start it with the folders and servers that it may use (as they were; change what is different here):',
    ...settingsLines(summary),
  ].join('\n');
}

async function owedLines(rows: Transaction, owed: readonly OwedAfterRescue[], { releasedCount, paused }: Summary): Promise<string[]> {
  if (owed.length === 0) return paused ? ['', 'The service is paused: POST /service/start lets workers take jobs.'] : [];
  const when = paused ? 'when it is resumed (it is paused: POST /service/start)' : 'as soon as it starts';
  const lines = [
    '',
    `${formatCount(owed.length)} runs are owed and will be done ${when}; ${formatCount(releasedCount)} of them were under way:`,
  ];
  for (const { kind, id } of owed.slice(0, maxListed)) {
    const target = kind === 'recovery' ? `  writes to ${(await findRecoveryJob(rows, '*', id)).targetLocation}` : '';
    lines.push(`  ${kind.padEnd(8)}  ${id}${target}`);
  }
  if (owed.length > maxListed) lines.push(`  and ${formatCount(owed.length - maxListed)} more`);
  return lines;
}

/** Nothing is pointed elsewhere by itself: who has moved a repository has to say so. */
async function movedLines(rows: Transaction, summary: Summary, missing: readonly CheckedRepository[]): Promise<string[]> {
  const { openedId, openedPlace } = summary;
  if (missing.length === 0) return [];
  const lines = ['', 'Put what is not there back in its place, or, if it lies elsewhere now, empty the state folder and rescue again with'];
  const opened = await findRepositoryByResticId(rows, openedId);
  const isMoved = opened !== null && missing.some(({ id }) => id === opened.id);
  if (isMoved && opened.locationKey.startsWith('local:')) {
    lines.push(`  --moved ${opened.locationKey.slice('local:'.length)}=${openedPlace}`, 'for the one that was read here, and with');
  }
  return [...lines, '  --moved <folder that was>=<folder that is>'];
}

function settingsLines({ manifest, stateFolder, isExternal }: Summary): string[] {
  const settings = Object.entries(manifest.settings).filter(([, value]) => value !== '');
  return [
    `  export HOLDFAST_STATE_DIR=${shellWord(stateFolder)}`,
    ...settings.map(([name, value]) => `  export ${name}=${shellWord(value)}`),
    ...(isExternal ? ['  (and DATABASE_URL, as it is set now)'] : []),
    '  npm run holdfast -- up --no-tour',
    '',
  ];
}

function shellWord(text: string): string {
  return /^[\w/.,:@=+-]+$/u.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
