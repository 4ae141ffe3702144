import type { DatabaseFacts, ServerFacts } from './catalog.ts';
import type { ClientPrograms } from './client-programs.ts';
import type { Consistency } from './connection-options.ts';
import { optionValue } from './option-file.ts';

/** A row is at most so large at the server; a smaller limit here would end the dump. */
const maxPacket = '--max-allowed-packet=1G';
/** The rest of what a dump should have is on by default (--opt). */
const always = ['--default-character-set=utf8mb4', '--skip-dump-date', '--no-tablespaces', '--hex-blob', '--quick', maxPacket] as const;
/** Taken by mysqldump since 8.0.26, under this name only since 8.4. */
const sourceDataSince = [8, 0, 26] as const;

/** All tables of all databases, in one transaction or under one lock. Without triggers, and without views, which option lines leave out. */
export function tablesArguments(
  programs: ClientPrograms,
  { server, databases, consistency }: { server: ServerFacts; databases: readonly DatabaseFacts[]; consistency: Consistency },
): string[] {
  const moment = consistency === 'lock' ? ['--lock-all-tables'] : ['--single-transaction'];
  const position = server.positionReadable ? [positionArgument(programs)] : [];
  const names = databases.map(({ name }) => name);
  return [
    ...moment,
    ...position,
    ...familyArguments(programs),
    ...always,
    '--skip-add-locks',
    '--skip-triggers',
    '--databases',
    '--',
    ...names,
  ];
}

/** Triggers, events, procedures and functions of one database. */
export function programsArguments(programs: ClientPrograms, database: string): string[] {
  const what = ['--no-data', '--no-create-info', '--triggers', '--events', '--routines', '--skip-lock-tables'];
  return [...what, ...familyArguments(programs), ...always, '--', database];
}

/** Stand-ins for the views, so that they may use each other, and then the views. */
export function viewsArguments(programs: ClientPrograms, { name, views }: DatabaseFacts): string[] {
  const what = ['--no-data', '--skip-triggers', '--skip-lock-tables'];
  return [...what, ...familyArguments(programs), ...always, '--', name, ...views];
}

/** Lines of the option file, which takes more of them than an argument list. */
export function ignoredTables(databases: readonly DatabaseFacts[], excluded: readonly string[]): string[] {
  const views = databases.flatMap(({ name, views: own }) => own.map((view) => `${name}.${view}`));
  return ['[mysqldump]', ...[...views, ...excluded].map((name) => `ignore-table=${optionValue(name)}`)];
}

function positionArgument({ family, version }: ClientPrograms): string {
  if (family === 'mariadb') return '--master-data=2';
  const parts = version.split('.').map(Number);
  const at = sourceDataSince.findIndex((number, index) => number !== parts[index]);
  const isNew = at === -1 || (parts[at] ?? 0) > (sourceDataSince[at] ?? 0);
  return isNew ? '--source-data=2' : '--master-data=2';
}

/** mysqldump else writes what a server that has its own history refuses, and asks MariaDB for a table that it does not have. */
function familyArguments({ family, version }: ClientPrograms): string[] {
  if (family === 'mariadb') return [];
  return ['--set-gtid-purged=OFF', ...(version.startsWith('5.') ? [] : ['--column-statistics=0'])];
}
