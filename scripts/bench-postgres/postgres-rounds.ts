import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { TestPostgres } from '../../libs/sources/src/postgresql/testing/test-postgres.ts';
import { measure, type Command } from '../bench/measured-run.ts';
import { treeSizeBytes } from '../bench/tree-size.ts';
import type { WorkFolder } from '../bench/work-folder.ts';
import { changeDataSql, makeDataSql, type Content } from './made-data.ts';
import type { PostgresRun, PostgresStep, PostgresTool } from './postgres-bars.ts';
import type { PostgresBenchOptions } from './postgres-bench-options.ts';
import { makeOwnedFolder, type ClientPipes, type HoldfastPostgres, type PgBackRest } from './postgres-tools.ts';

export interface PostgresBench {
  readonly options: PostgresBenchOptions;
  readonly work: WorkFolder;
  readonly holdfast: HoldfastPostgres;
  readonly pipes: ClientPipes | null;
  readonly pgBackRest: PgBackRest | null;
  /** 15, which all programs know, and 18, which makes incremental backups. */
  readonly server: TestPostgres;
  readonly newServer: TestPostgres;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

interface Task {
  readonly tool: PostgresTool;
  readonly command: Command;
  /** A folder or file that grows. */
  readonly writes?: string;
}

/** Everything with data of one compressibility: full backups, then 5 % of the rows change, then full and incremental ones, then the restore. */
export async function runContent(bench: PostgresBench, content: Content): Promise<PostgresRun[]> {
  const { options, say } = bench;
  const servers = [bench.server, bench.newServer];
  for (const server of servers) {
    say(`making ${options.sizeBytes / 1e6} MB of data at ${content} in PostgreSQL ${server.major}`);
    for (const sql of [...makeDataSql(content, options.sizeBytes), 'CHECKPOINT']) await server.query(sql);
  }
  const runs: PostgresRun[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    runs.push(...(await new Round(bench, content, round).run()));
    for (const server of servers) for (const sql of ['VACUUM FREEZE', 'CHECKPOINT']) await server.query(sql);
  }
  return runs;
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

    await this.#step('first full', [
      ours('physical', server, repository),
      ...peer('full'),
      ...(pipes === null ? [] : [pipe('pg_basebackup | zstd', (into) => pipes.baseBackup(server, into))]),
    ]);
    await this.#step('logical', [
      ours('logical', server, logical),
      ...(pipes === null ? [] : [pipe('pg_dump | zstd', (into) => pipes.dump(server, into))]),
    ]);
    // Not measured: what the incremental backup builds on.
    await measure(holdfast.backUp('physical', newRepository, newServer), this.#options);
    for (const each of [server, newServer]) {
      for (const sql of [...changeDataSql(this.#content, options.sizeBytes, this.#round), 'CHECKPOINT']) await each.query(sql);
    }
    // A full one would be what the next diff builds on.
    await this.#step('incremental', [ours('blocks', newServer, newRepository), ...peer('diff')]);
    await this.#step('second full', [ours('physical', server, repository), ...peer('full')]);
    const [target, other] = [makeOwnedFolder(this.#at('target')), makeOwnedFolder(this.#at('other-target'))];
    // Ours holds the data folder, which the server's owner has to reach.
    chmodSync(target, 0o755);
    const restores: Task[] = [{ tool: 'holdfast', command: holdfast.recover(repository, target) }];
    if (pgBackRest !== null) restores.push({ tool: 'pgbackrest', command: pgBackRest.recover(other) });
    await this.#step('restore and start', restores);
  }

  /** The tools follow each other at once; each round begins with another one. */
  async #step(step: PostgresStep, tasks: readonly Task[]): Promise<void> {
    for (const nth of tasks.keys()) {
      const task = tasks[(nth + this.#round - 1) % tasks.length];
      if (task !== undefined) await this.#measure(step, task);
    }
  }

  async #measure(step: PostgresStep, { tool, command, writes }: Task): Promise<void> {
    const { say, options } = this.#bench;
    // The server hands its WAL over only while the program that needs it is measured.
    await this.#archiveBy(tool === 'pgbackrest' ? (this.#bench.pgBackRest?.archiveCommand ?? '/bin/true') : '/bin/true');
    const before = writes === undefined ? 0 : sizeOf(writes, tool === 'holdfast' || tool === 'pgbackrest');
    const cost = await measure(command, this.#options);
    const written = writes === undefined ? {} : { writtenBytes: sizeOf(writes, true) - before };
    this.#runs.push({ content: this.#content, round: this.#round, step, tool, ...cost, ...written });
    say(`${this.#content}, round ${this.#round} of ${options.rounds}, ${step}, ${tool}: ${(cost.wallMs / 1000).toFixed(2)} s`);
  }

  async #archiveBy(command: string): Promise<void> {
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
