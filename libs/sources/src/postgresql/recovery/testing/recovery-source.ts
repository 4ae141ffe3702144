import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { parseLsn, type Lsn } from '../../lsn.ts';
import { startTestPostgres, type TestMajor, type TestPostgres } from '../../testing/test-postgres.ts';
import { finishPhysicalTarget, preparePhysicalTarget } from '../physical-target.ts';
import { startRecoveryServer, type RecoveryServer, type RecoveryServerOptions } from '../recovery-server.ts';
import type { RecoveryStop } from '../recovery-settings.ts';
import { serverAccount } from '../server-account.ts';
import { findServerPrograms, type ServerPrograms } from '../server-programs.ts';

/**
 * A cluster that archives its WAL into a folder, with a log of its own commits: which row was committed when, and where in WAL the
 * log stood between that commit and the next.
 */
export interface RecoverySource extends AsyncDisposable {
  readonly cluster: TestPostgres;
  readonly walDir: string;
  readonly root: string;
  readonly scratchRoot: string;
  readonly programs: ServerPrograms;
  readonly commits: readonly LoggedCommit[];
  /** A full base backup by the server's own functions, into a folder of this name. */
  takeBase(name: string): Promise<string>;
  /** Commits that many rows, one a transaction, beside a noise of other ones. */
  commit(count: number): Promise<void>;
  /** Until the current segment is in the folder. */
  archive(): Promise<void>;
  /** Copies a base backup, finishes the copy and starts a server on it. */
  recover(
    base: string,
    stop: RecoveryStop,
    more?: Partial<RecoveryServerOptions> & { walDir?: string; timeline?: number },
  ): Promise<RecoveryServer>;
  /** As `recover`, without the server. */
  layTarget(base: string, stop: RecoveryStop, more?: { walDir?: string; timeline?: number }): Promise<string>;
}

export interface LoggedCommit {
  readonly row: number;
  /** Of the commit itself, by track_commit_timestamp. */
  readonly timeUs: bigint;
  /** The commit lies before it, the next one behind. */
  readonly lsn: Lsn;
}

const archiveLimitMs = 30_000;
const recoveryLimitMs = 60_000;

export async function startRecoverySource(major: TestMajor, settings: Readonly<Record<string, string>> = {}): Promise<RecoverySource> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-recovery-'));
  await chmod(root, 0o755);
  const walDir = join(root, 'wal');
  await mkdir(walDir);
  await chmod(walDir, 0o777);
  const archiving = { archive_mode: 'on', archive_command: `cp "%p" "${walDir}/%f"`, track_commit_timestamp: 'on', wal_level: 'replica' };
  const cluster = await startTestPostgres({ major, settings: { ...archiving, ...settings } });
  await cluster.query('CREATE TABLE committed (row int PRIMARY KEY, padding text); CREATE TABLE noise (n bigint, padding text)');
  const programs = await findServerPrograms({ majorVersion: major });
  return new Source(cluster, root, walDir, programs);
}

class Source implements RecoverySource {
  readonly cluster: TestPostgres;
  readonly root: string;
  readonly walDir: string;
  readonly scratchRoot: string;
  readonly programs: ServerPrograms;
  readonly commits: LoggedCommit[] = [];
  #targetCount = 0;

  constructor(cluster: TestPostgres, root: string, walDir: string, programs: ServerPrograms) {
    this.cluster = cluster;
    this.root = root;
    this.walDir = walDir;
    this.scratchRoot = join(root, 'scratch');
    this.programs = programs;
  }

  async takeBase(name: string): Promise<string> {
    const base = join(this.root, name);
    await mkdir(base);
    const client = await this.#connect();
    try {
      await client.query(`SELECT pg_backup_start('${name}', true)`);
      const left = ['pg_wal', 'pg_replslot', 'postmaster.pid', 'postmaster.opts'];
      const names = (await readdir(this.cluster.dataDir)).filter((each) => !left.includes(each));
      await promisify(execFile)('cp', ['-a', ...names.map((each) => join(this.cluster.dataDir, each)), base]);
      const { rows } = await client.query<{ labelfile: string; spcmapfile: string }>('SELECT * FROM pg_backup_stop(false)');
      await writeFile(join(base, 'backup_label'), rows[0]?.labelfile ?? '');
      if (rows[0]?.spcmapfile) await writeFile(join(base, 'tablespace_map'), rows[0].spcmapfile);
    } finally {
      await client.end();
    }
    return base;
  }

  async commit(count: number): Promise<void> {
    const [client, other] = [await this.#connect(), await this.#connect()];
    const loud = new AbortController();
    const noise = (async () => {
      while (!loud.signal.aborted) {
        await other.query(`INSERT INTO noise SELECT g, repeat('x', 300) FROM generate_series(1, 20) g`);
        await delay(2);
      }
    })();
    try {
      for (let index = 0; index < count; index++) {
        const row = (this.commits.at(-1)?.row ?? 0) + 1;
        await client.query(`INSERT INTO committed VALUES (${row}, repeat('y', 100))`);
        const { rows } = await client.query<{ time: string; lsn: string }>(
          `SELECT (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint::text AS time, pg_current_wal_insert_lsn() AS lsn
            FROM committed WHERE row = ${row}`,
        );
        this.commits.push({ row, timeUs: BigInt(rows[0]?.time ?? 0), lsn: parseLsn(rows[0]?.lsn ?? '') });
        await delay(Math.random() * 8);
      }
    } finally {
      loud.abort();
      await noise;
      await Promise.all([client.end(), other.end()]);
    }
  }

  async archive(): Promise<void> {
    // At the very start of a segment there would be nothing to switch.
    await this.cluster.query('INSERT INTO noise VALUES (0)');
    const [{ name } = { name: '' }] = await this.cluster.query<{ name: string }>('SELECT pg_walfile_name(pg_switch_wal()) AS name');
    const giveUpAtMs = performance.now() + archiveLimitMs;
    for (;;) {
      const [row] = await this.cluster.query<{ last: string | null }>('SELECT last_archived_wal AS last FROM pg_stat_archiver');
      if ((row?.last ?? '') >= name) return;
      if (performance.now() > giveUpAtMs) throw new Error(`${name} was not archived: ${await this.cluster.log()}`);
      await delay(50);
    }
  }

  async layTarget(base: string, stop: RecoveryStop, more: { walDir?: string; timeline?: number } = {}): Promise<string> {
    const target = await preparePhysicalTarget({
      dataDir: join(this.root, `target-${++this.#targetCount}`),
      walDir: more.walDir ?? this.walDir,
      stop,
      roots: [this.root],
      timeline: more.timeline ?? 1,
      action: 'promote',
      owner: serverAccount(),
    });
    await promisify(execFile)('cp', ['-a', `${base}/.`, target.dataDir]);
    await finishPhysicalTarget(target);
    return target.dataDir;
  }

  async recover(
    base: string,
    stop: RecoveryStop,
    more: Partial<RecoveryServerOptions> & { walDir?: string; timeline?: number } = {},
  ): Promise<RecoveryServer> {
    return startRecoveryServer({
      dataDir: await this.layTarget(base, stop, more),
      scratchRoot: this.scratchRoot,
      programs: this.programs,
      superuser: 'postgres',
      isScratch: true,
      recoveryTimeoutMs: recoveryLimitMs,
      signal: new AbortController().signal,
      ...more,
    });
  }

  async #connect(): Promise<pg.Client> {
    const { host, port, user, password } = this.cluster;
    const client = new pg.Client({ host, port, user, password, database: 'postgres' });
    await client.connect();
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
    await rm(this.root, { recursive: true, force: true });
  }
}

/** The rows that a recovered server has. */
export async function committedRows(server: RecoveryServer): Promise<number[]> {
  return (await askServer<{ row: number }>(server, 'SELECT row FROM committed ORDER BY row')).map(({ row }) => row);
}

export async function askServer<Row extends pg.QueryResultRow>(server: RecoveryServer, sql: string): Promise<Row[]> {
  const client = new pg.Client({ ...server.connection, database: 'postgres' });
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}
