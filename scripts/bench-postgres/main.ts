// Measures backups of a PostgreSQL server against pgBackRest, pg_basebackup and pg_dump: docs/benchmarks.md says what, how and how to read it.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startTestPostgres } from '../../libs/sources/src/postgresql/testing/test-postgres.ts';
import { readMachineFacts } from '../bench/machine-facts.ts';
import { openWorkFolder } from '../bench/work-folder.ts';
import { summarizePostgres, type PostgresRun } from './postgres-bars.ts';
import { parsePostgresBenchOptions, usage, type PostgresBenchOptions } from './postgres-bench-options.ts';
import { runContent, warmUp, type PostgresBench } from './postgres-rounds.ts';
import { ClientPipes, HoldfastPostgres, PgBackRest } from './postgres-tools.ts';
import { runWal, summarizeWal } from './wal-rounds.ts';

/** Two servers with their WAL, three repositories, those of peers, and a restored copy at a time: times the data. */
const neededFactor = 8;
/** WAL of making the data goes away soon; nothing of a server's own accord happens meanwhile. */
const settings = { max_wal_size: '1GB', min_wal_size: '80MB', checkpoint_timeout: '1h', shared_buffers: '128MB' };

const say = (text: string): void => console.error(`bench: ${text}`);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));

const words = process.argv.slice(2);
try {
  if (words.includes('--help')) console.log(usage);
  else if (process.platform !== 'linux') throw new Error('the bench reads what the Linux kernel counts, and this is not Linux');
  // npm moves to the root of the checkout and leaves the caller's folder here.
  else await bench(parsePostgresBenchOptions(words, process.env['INIT_CWD'] ?? process.cwd()));
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function bench(options: PostgresBenchOptions): Promise<void> {
  const machine = readMachineFacts();
  const { signal } = interrupted;
  const startedAt = new Date();
  await using work = await openWorkFolder({ dir: options.dir, neededBytes: neededFactor * options.sizeBytes, say, signal });
  // The servers' owner has to pass it.
  chmodSync(work.run, 0o755);
  await using server = await startTestPostgres({
    major: 15,
    settings: { ...settings, archive_mode: 'on' },
    // A restored copy of it is asked on its socket, which this one does not have.
    accessRules: ['local all all trust'],
    parentFolder: work.run,
  });
  await server.query("ALTER SYSTEM SET archive_command = '/bin/true'");
  await server.query('SELECT pg_reload_conf()');
  const holdfast = new HoldfastPostgres(work.run, options.profile);
  const common = { options, work, holdfast, server, say, signal };
  const measured = options.walSeconds === undefined ? await benchSteps(common) : await benchWal(common, options.walSeconds);
  console.log(measured.table);
  for (const line of measured.lines) console.log(line);
  const place = `${machine.cores} × ${machine.processor}, Linux ${machine.kernel}; load at the start ${machine.load.toFixed(2)}; in ${work.path}`;
  console.log(`${options.rounds} rounds; Node ${machine.node}; ${place}`);
  if (options.json === undefined) return;
  writeFileSync(options.json, `${JSON.stringify({ options, startedAt, machine, ...measured.values }, null, 2)}\n`);
}

type Common = Omit<PostgresBench, 'pipes' | 'pgBackRest' | 'newServer'>;

interface Measured {
  readonly table: string;
  readonly lines: readonly string[];
  /** For the JSON file. */
  readonly values: object;
}

async function benchSteps(common: Common): Promise<Measured> {
  const { options, work, server } = common;
  await using newServer = options.steps.includes('incremental')
    ? await startTestPostgres({ major: 18, settings: { ...settings, summarize_wal: 'on' }, parentFolder: work.run })
    : null;
  const pipes = options.peers ? ClientPipes.open() : null;
  const pgBackRest = options.peers ? PgBackRest.open(join(work.run, 'pgbackrest'), server) : null;
  if (options.peers && pipes === null) say('there is no zstd to compare with: set ZSTD_BIN, or install it');
  if (options.peers && pgBackRest === null) say('there is no pgbackrest to compare with: set PGBACKREST_BIN, or install it');
  const running = { ...common, pipes, pgBackRest, newServer };
  const runs: PostgresRun[] = [];
  await warmUp(running);
  for (const content of options.contents) runs.push(...(await runContent(running, content)));
  const { table, medians } = summarizePostgres(runs);
  const peer = pgBackRest?.version ?? '-';
  const lines = [
    'incremental: ours by PostgreSQL 18, pgBackRest its diff of 15 with the same data; all else by 15',
    `${options.sizeBytes / 1e6} MB, pgBackRest ${peer}`,
  ];
  return { table, lines, values: { pgBackRest: peer, medians, runs } };
}

async function benchWal({ options: { rounds }, ...common }: Common, seconds: number): Promise<Measured> {
  const runs = await runWal({ ...common, rounds, seconds });
  return { table: summarizeWal(runs), lines: [`PostgreSQL 15, pgbench for ${seconds} s a round`], values: { runs } };
}
