import { chmodSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { TestPostgres } from '../../libs/sources/src/postgresql/testing/test-postgres.ts';
import { measure, type Cost } from '../bench/measured-run.ts';
import { formatNumber, formatTable } from '../bench/report-table.ts';
import { median } from '../bench/statistics.ts';
import type { WorkFolder } from '../bench/work-folder.ts';
import type { HoldfastPostgres } from './postgres-tools.ts';

/** What archiving its WAL costs a server that writes as fast as it can, and whether the archive keeps up with it. */
export interface WalRun {
  readonly round: number;
  /** Transactions a second. */
  readonly aloneTps: number;
  readonly archivedTps: number;
  readonly archive: Archived & Cost;
}

/** What holdfast-postgres-command.ts says. */
interface Archived {
  readonly runCount: number;
  readonly bytes: number;
  /** What was flushed and not stored when pgbench ended. */
  readonly behindBytes: number;
  readonly catchUpMs: number;
}

interface WalBench {
  readonly work: WorkFolder;
  readonly holdfast: HoldfastPostgres;
  readonly server: TestPostgres;
  readonly seconds: number;
  readonly rounds: number;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Of pgbench: some 300 MB, which stay in memory. */
const scale = 20;
const clients = 4;
const lossBarPercent = 10;
/** How often a run begins, as by a schedule with a field of seconds. */
const everySeconds = 5;

/** Alone and archived take turns in who is first. */
export async function runWal({ work, holdfast, server, seconds, rounds, say, signal }: WalBench): Promise<WalRun[]> {
  await server.run('pgbench', ['-q', '-i', '-s', String(scale), 'postgres']);
  const load = async (): Promise<number> => {
    await server.query('CHECKPOINT');
    return tpsOf(await server.run('pgbench', ['-n', '-c', String(clients), '-j', '1', '-T', String(seconds), 'postgres']));
  };
  const archived = async (): Promise<Pick<WalRun, 'archivedTps' | 'archive'>> => {
    const folder = join(work.run, 'wal-round');
    mkdirSync(folder);
    chmodSync(folder, 0o755);
    try {
      const [repository, file] = [join(folder, 'repository'), join(folder, 'archived.json')];
      holdfast.makeRepository(repository);
      const command = holdfast.archiveWal(repository, server, { seconds, every: everySeconds, file });
      const [cost, archivedTps] = await Promise.all([measure(command, { folder: work.run, signal }), load()]);
      return { archivedTps, archive: { ...cost, ...(JSON.parse(readFileSync(file, 'utf8')) as Archived) } };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };
  // Not measured: code is compiled, and pages are written for the first time.
  await archived();
  const runs: WalRun[] = [];
  for (let round = 1; round <= rounds; round++) {
    const before = round % 2 === 1 ? await load() : undefined;
    const meanwhile = await archived();
    const aloneTps = before ?? (await load());
    runs.push({ round, aloneTps, ...meanwhile });
    say(`WAL, round ${round} of ${rounds}: ${aloneTps.toFixed(0)} tps alone, ${meanwhile.archivedTps.toFixed(0)} while archived`);
  }
  return runs;
}

export function summarizeWal(runs: readonly WalRun[]): string {
  const of = (pick: (run: WalRun) => number): number => median(runs.map(pick));
  const loss = of(({ aloneTps, archivedTps }) => (1 - archivedTps / aloneTps) * 100);
  const headers = [
    '',
    'tps alone',
    'tps archived',
    'loss %',
    'runs',
    'WAL MB',
    'behind at the end MB',
    'stored after s',
    'CPU s',
    'peak RSS MB',
  ];
  const row = [
    'WAL of pgbench',
    formatNumber(of(({ aloneTps }) => aloneTps)),
    formatNumber(of(({ archivedTps }) => archivedTps)),
    `${loss.toFixed(1)} (≤ ${lossBarPercent} ${loss <= lossBarPercent ? 'ok' : 'no'})`,
    formatNumber(of(({ archive }) => archive.runCount)),
    formatNumber(of(({ archive }) => archive.bytes / 1e6)),
    formatNumber(of(({ archive }) => archive.behindBytes / 1e6)),
    formatNumber(of(({ archive }) => archive.catchUpMs / 1000)),
    formatNumber(of(({ archive }) => (archive.userMs + archive.systemMs) / 1000)),
    formatNumber(of(({ archive }) => archive.peakRssBytes / 1e6)),
  ];
  return formatTable(headers, [row], 1);
}

function tpsOf(said: string): number {
  const found = /^tps = ([\d.]+)/mu.exec(said)?.[1];
  if (found === undefined) throw new Error(`pgbench says no tps: ${said}`);
  return Number(found);
}
