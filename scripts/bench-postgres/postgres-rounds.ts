import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { startTestPostgres, type TestPostgres } from '../../libs/sources/src/postgresql/testing/test-postgres.ts';
import { emptyFiles } from '../bench/empty-files.ts';
import { measure, type Command } from '../bench/measured-run.ts';
import { touchMemory } from '../bench/touch-memory.ts';
import { treeSizeBytes } from '../bench/tree-size.ts';
import type { WorkFolder } from '../bench/work-folder.ts';
import { changeDataSql, makeDataSql, rowDigestSql, type Content } from './made-data.ts';
import type { PostgresRun, PostgresStep, PostgresTool } from './postgres-bars.ts';
import type { PostgresBenchOptions } from './postgres-bench-options.ts';
import { makeOwnedFolder, type ClientPipes, type HoldfastPostgres, type PgBackRest } from './postgres-tools.ts';

export interface PostgresBench {
  readonly options: PostgresBenchOptions;
  readonly work: WorkFolder;
  readonly holdfast: HoldfastPostgres;
  readonly pipes: ClientPipes | null;
  readonly pgBackRest: PgBackRest | null;
  /** 15, which all programs know. */
  readonly server: TestPostgres;
  /** 18, which makes incremental backups; null when nothing asks for them. */
  readonly newServer: TestPostgres | null;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

/** What a step has in memory, of the data and besides. */
const touchedFactor = 2;
const programBytes = 500e6;

interface Task {
  readonly tool: PostgresTool;
  readonly command: Command;
  /** A folder or file that grows. */
  readonly writes?: string;
}

/** Everything with data of one compressibility: full backups, then 5 % of the rows change, then full and incremental ones, then the restore. */
export async function runContent(bench: PostgresBench, content: Content): Promise<PostgresRun[]> {
  const { options, say } = bench;
  const servers = serversOf(bench);
  for (const server of servers) {
    say(`making ${options.sizeBytes / 1e6} MB of data at ${content} in PostgreSQL ${server.major}`);
    for (const sql of [...makeDataSql(content, options.sizeBytes), 'CHECKPOINT']) await server.query(sql);
  }
  const runs: PostgresRun[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    runs.push(...(await new Round(bench, content, round).run()));
    for (const server of servers) for (const sql of ['VACUUM FREEZE', 'CHECKPOINT']) await server.query(sql);
  }
  await sayCompressibility(bench, content, runs);
  return runs;
}

/** Our programs once, with next to no data: a worker compiles its code once in its life, and every step is to find it compiled. */
export async function warmUp(bench: PostgresBench): Promise<void> {
  const { holdfast, server, newServer, work, signal } = bench;
  const [folder, target] = [join(work.run, 'warm'), makeOwnedFolder(join(work.run, 'warm-target'))];
  chmodSync(target, 0o755);
  const commands = [
    holdfast.backUp('logical', folder, server),
    holdfast.backUp('physical', folder, server),
    holdfast.recover(folder, target),
  ];
  if (newServer !== null) commands.push(holdfast.backUp('physical', folder, newServer), holdfast.backUp('blocks', folder, newServer));
  holdfast.makeRepository(folder);
  for (const command of commands) await measure(command, { folder: work.run, signal });
  for (const path of [folder, target]) rmSync(path, { recursive: true, force: true });
}

function serversOf({ server, newServer }: PostgresBench): TestPostgres[] {
  return newServer === null ? [server] : [server, newServer];
}

/** What zstd makes of the data decides what the figures mean. */
async function sayCompressibility({ server, say }: PostgresBench, content: Content, runs: readonly PostgresRun[]): Promise<void> {
  const [row] = await server.query('SELECT sum(pg_database_size(oid))::text AS bytes FROM pg_database');
  const bytes = Number(row?.['bytes']);
  for (const { tool, step, writtenBytes } of runs) {
    if (step !== 'first full' || writtenBytes === undefined) continue;
    say(
      `${content}: ${tool} made ${(writtenBytes / 1e6).toFixed(0)} MB of ${(bytes / 1e6).toFixed(0)} MB, ${(bytes / writtenBytes).toFixed(2)}:1`,
    );
  }
}

class Round {
  readonly #bench: PostgresBench;
  readonly #content: Content;
  readonly #round: number;
  readonly #folder: string;
  readonly #runs: PostgresRun[] = [];

  constructor(bench: PostgresBench, content: Content, round: number) {
    this.#bench = bench;
    this.#content = content;
    this.#round = round;
    this.#folder = join(bench.work.run, 'round');
  }

  async run(): Promise<PostgresRun[]> {
    mkdirSync(this.#folder);
    chmodSync(this.#folder, 0o755);
    try {
      await this.#steps();
    } finally {
      // The repository that it is handed to goes away.
      await this.#archiveFor('holdfast');
      rmSync(this.#folder, { recursive: true, force: true });
    }
    return this.#runs;
  }

  async #steps(): Promise<void> {
    const { holdfast, pipes, pgBackRest, server, newServer, options } = this.#bench;
    const [repository, newRepository, logical] = ['repository', 'repository-18', 'repository-logical'].map((name) => this.#at(name)) as [
      string,
      string,
      string,
    ];
    for (const path of [repository, newRepository, logical]) holdfast.makeRepository(path);
    pgBackRest?.makeRepository();
    const peer = (command: 'full' | 'diff'): Task[] =>
      pgBackRest === null ? [] : [{ tool: 'pgbackrest', command: pgBackRest.backUp(command), writes: pgBackRest.backups }];
    const ours = (word: 'physical' | 'blocks' | 'logical', of: TestPostgres, into: string): Task => {
      return { tool: 'holdfast', command: holdfast.backUp(word, into, of), writes: into };
    };
    const pipe = (tool: PostgresTool, command: (into: string) => Command): Task => {
      return { tool, command: command(this.#at('piped.zst')), writes: this.#at('piped.zst') };
    };

    const full = [ours('physical', server, repository), ...peer('full')];
    if (this.#wants('first full')) {
      const piped = pipes === null ? [] : [pipe('pg_basebackup | zstd', (into) => pipes.baseBackup(server, into))];
      await this.#step('first full', [...full, ...piped]);
    } else if (this.#wants('second full', 'incremental', 'restore and start')) {
      for (const { command, tool } of full) await this.#unmeasured(command, tool);
    }
    if (this.#wants('logical')) {
      const piped = pipes === null ? [] : [pipe('pg_dump | zstd', (into) => pipes.dump(server, into))];
      await this.#step('logical', [ours('logical', server, logical), ...piped]);
    }
    // What the incremental backup builds on.
    if (newServer !== null) await this.#unmeasured(holdfast.backUp('physical', newRepository, newServer), 'holdfast');
    for (const each of serversOf(this.#bench)) {
      for (const sql of [...changeDataSql(this.#content, options.sizeBytes, this.#round), 'CHECKPOINT']) await each.query(sql);
    }
    // A full one would be what the next diff builds on.
    if (newServer !== null) await this.#step('incremental', [ours('blocks', newServer, newRepository), ...peer('diff')]);
    if (this.#wants('second full')) await this.#step('second full', full);
    else if (this.#wants('restore and start')) for (const { command, tool } of full) await this.#unmeasured(command, tool);
    if (this.#wants('restore and start')) await this.#restore(repository);
  }

  async #restore(repository: string): Promise<void> {
    const { holdfast, pgBackRest } = this.#bench;
    // Not in the folder of the round: they stay.
    const folder = join(this.#bench.work.run, `restored-${this.#content.replace(':', '-')}-${this.#round}`);
    mkdirSync(folder, { mode: 0o755 });
    const [target, other] = [makeOwnedFolder(join(folder, 'ours')), makeOwnedFolder(join(folder, 'other'))];
    // Ours holds the data folder, which the server's owner has to reach.
    chmodSync(target, 0o755);
    const restores: Task[] = [{ tool: 'holdfast', command: holdfast.recover(repository, target) }];
    if (pgBackRest !== null) restores.push({ tool: 'pgbackrest', command: pgBackRest.recover(other) });
    await this.#step('restore and start', restores);
    if (this.#round === 1) await this.#compare(holdfast.dataDirOf(target));
    emptyFiles(folder);
  }

  /** A restored server has the rows of its source, or the figures mean nothing. */
  async #compare(dataDir: string): Promise<void> {
    const { server, work, say } = this.#bench;
    const { host, port, major, password } = server;
    const answers: string[] = [];
    {
      await using restored = await startTestPostgres({ major, password, dataDir, parentFolder: work.run });
      for (const each of [server, restored]) answers.push(JSON.stringify(await each.query(rowDigestSql)));
    }
    if (answers[0] !== answers[1]) throw new Error(`the restored server has ${answers[1]}, that at ${host}:${port} has ${answers[0]}`);
    say(`${this.#content}: the restored server has the rows of its source, ${answers[1]}`);
  }

  #wants(...steps: readonly PostgresStep[]): boolean {
    return steps.some((step) => this.#bench.options.steps.includes(step));
  }

  async #unmeasured(command: Command, tool: PostgresTool): Promise<void> {
    await this.#archiveFor(tool);
    await measure(command, this.#options);
  }

  /** The tools follow each other at once; each round begins with another one. */
  async #step(step: PostgresStep, tasks: readonly Task[]): Promise<void> {
    for (const nth of tasks.keys()) {
      const task = tasks[(nth + this.#round - 1) % tasks.length];
      if (task !== undefined) await this.#measure(step, task);
    }
  }

  async #measure(step: PostgresStep, { tool, command, writes }: Task): Promise<void> {
    const { say, options, work } = this.#bench;
    await this.#archiveFor(tool);
    // What came before has nothing left to write while this one does.
    execFileSync('sync', ['--file-system', work.run]);
    touchMemory(touchedFactor * options.sizeBytes + programBytes);
    const before = writes === undefined ? 0 : sizeOf(writes, tool === 'holdfast' || tool === 'pgbackrest');
    const cost = await measure(command, this.#options);
    const written = writes === undefined ? {} : { writtenBytes: sizeOf(writes, true) - before };
    this.#runs.push({ content: this.#content, round: this.#round, step, tool, ...cost, ...written });
    say(`${this.#content}, round ${this.#round} of ${options.rounds}, ${step}, ${tool}: ${(cost.wallMs / 1000).toFixed(2)} s`);
  }

  /** The server hands its WAL over only while the program that needs it runs. */
  async #archiveFor(tool: PostgresTool): Promise<void> {
    const command = tool === 'pgbackrest' ? (this.#bench.pgBackRest?.archiveCommand ?? '/bin/true') : '/bin/true';
    await this.#bench.server.query(`ALTER SYSTEM SET archive_command = '${command}'`);
    await this.#bench.server.query('SELECT pg_reload_conf()');
  }

  get #options() {
    return { folder: this.#bench.work.run, signal: this.#bench.signal };
  }

  #at(name: string): string {
    return join(this.#folder, name);
  }
}

/** Of a file that is written anew, what was there before does not count. */
function sizeOf(path: string, counts: boolean): number {
  if (!counts) return 0;
  return statSync(path).isDirectory() ? treeSizeBytes(path) : statSync(path).size;
}
