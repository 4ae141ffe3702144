import { execFileSync } from 'node:child_process';
import { chownSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { workerMemory } from '../../libs/settings/src/worker-memory.ts';
import { clientProgram, type TestPostgres } from '../../libs/sources/src/postgresql/testing/test-postgres.ts';
import type { Command } from '../bench/measured-run.ts';

/** The programs that are measured, each as a command for one step. Folders are the bench's own; a peer is null when it is not here. */

const program = join(import.meta.dirname, 'holdfast-postgres-command.ts');
const repositoryPassword = 'bench';
/** The server's owner when the bench is root. */
const nobody = 65_534;
const isRoot = process.getuid?.() === 0;

export class HoldfastPostgres {
  readonly #folder: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #flags: readonly string[];

  constructor(folder: string, profileFolder: string | undefined) {
    this.#folder = folder;
    // A worker compiles its code once in its life.
    const own = { RESTIC_PASSWORD: repositoryPassword, NODE_COMPILE_CACHE: join(folder, 'compiled'), NODE_NO_WARNINGS: '1' };
    this.#env = { ...own, ...workerMemory };
    this.#flags = profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
    execFileSync(process.execPath, [program, 'init', join(folder, 'empty')], { env: { ...process.env, ...this.#env } });
  }

  /** An empty one, with the key of all of them. */
  makeRepository(path: string): void {
    cpSync(join(this.#folder, 'empty'), path, { recursive: true });
  }

  backUp(word: 'physical' | 'blocks' | 'logical', repository: string, server: TestPostgres): Command {
    const args = [...this.#flags, program, word, repository, String(server.port)];
    return { program: process.execPath, args, env: { ...this.#env, PGPASSWORD: server.password } };
  }

  /** Into a data folder in `folder`. */
  archiveWal(
    repository: string,
    server: TestPostgres,
    { seconds, every, file }: { readonly seconds: number; readonly every: number; readonly file: string },
  ): Command {
    const args = [...this.#flags, program, 'wal', repository, String(server.port), String(seconds), String(every), file];
    return { program: process.execPath, args, env: { ...this.#env, PGPASSWORD: server.password } };
  }

  recover(repository: string, folder: string): Command {
    return { program: process.execPath, args: [...this.#flags, program, 'recover', repository, folder], env: this.#env };
  }

  dataDirOf(folder: string): string {
    return join(folder, 'data');
  }
}

function versionOf(name: string, args: readonly string[]): string | null {
  try {
    return execFileSync(name, args, { encoding: 'utf8' }).trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

/** Pipes through a shell of their own: both ends are waited for, so both are counted. */
export class ClientPipes {
  readonly #zstd: string;

  private constructor(zstd: string) {
    this.#zstd = zstd;
  }

  static open(): ClientPipes | null {
    const zstd = process.env['ZSTD_BIN'] ?? 'zstd';
    return versionOf(zstd, ['--version']) === null ? null : new ClientPipes(zstd);
  }

  /** With its WAL, as ours. */
  baseBackup(server: TestPostgres, into: string): Command {
    return this.#pipe(server, `"${clientProgram('pg_basebackup')}" -D - -Ft -X fetch -c fast`, into);
  }

  dump(server: TestPostgres, into: string): Command {
    return this.#pipe(server, `"${clientProgram('pg_dump')}" -Fc -Z0 postgres`, into);
  }

  #pipe(server: TestPostgres, command: string, into: string): Command {
    const script = `set -o pipefail; ${command} | "${this.#zstd}" -3 -q -f -o "${into}"`;
    return { program: '/bin/bash', args: ['-c', script], env: connectionOf(server) };
  }
}

/** libpq's, which pgBackRest hands on. */
function connectionOf(server: TestPostgres): Record<string, string> {
  return { PGHOST: server.host, PGPORT: String(server.port), PGUSER: server.user, PGPASSWORD: server.password };
}

/** pgBackRest as the server's owner: zstd 3, two processes, no cipher. It has the WAL of a backup by the server's archive_command. */
export class PgBackRest {
  readonly version: string;
  readonly #program: string;
  readonly #folder: string;
  readonly #server: TestPostgres;

  private constructor(name: string, version: string, folder: string, server: TestPostgres) {
    this.#program = name;
    this.version = version;
    this.#folder = folder;
    this.#server = server;
  }

  static open(folder: string, server: TestPostgres): PgBackRest | null {
    const name = process.env['PGBACKREST_BIN'] ?? 'pgbackrest';
    const version = versionOf(name, ['version']);
    if (version === null) return null;
    const tool = new PgBackRest(name, version.replace(/^pgBackRest /u, ''), folder, server);
    tool.#makeFolders();
    return tool;
  }

  #makeFolders(): void {
    mkdirSync(this.#folder, { recursive: true });
    for (const name of ['repository', 'log', 'lock', 'spool']) {
      mkdirSync(join(this.#folder, name), { recursive: true });
      if (isRoot) chownSync(join(this.#folder, name), nobody, nobody);
    }
    writeFileSync(
      this.#config,
      `[global]
repo1-path=${join(this.#folder, 'repository')}
repo1-retention-full=9999999
log-path=${join(this.#folder, 'log')}
lock-path=${join(this.#folder, 'lock')}
spool-path=${join(this.#folder, 'spool')}
log-level-console=warn
compress-type=zst
compress-level=3
process-max=2
start-fast=y
[bench]
pg1-path=${this.#server.dataDir}
pg1-port=${this.#server.port}
pg1-user=${this.#server.user}
`,
    );
  }

  get #config(): string {
    return join(this.#folder, 'pgbackrest.conf');
  }

  /** Without the WAL, which is in another folder. */
  get backups(): string {
    return join(this.#folder, 'repository', 'backup');
  }

  get archiveCommand(): string {
    return `${this.#program} --config=${this.#config} --stanza=bench archive-push %p`;
  }

  /** An empty one again. */
  makeRepository(): void {
    rmSync(join(this.#folder, 'repository'), { recursive: true, force: true });
    this.#makeFolders();
    const { program: name, args, env } = this.#command(['stanza-create']);
    execFileSync(name, [...args], { env: { ...process.env, ...env } });
  }

  backUp(type: 'full' | 'diff'): Command {
    return this.#command(['backup', `--type=${type}`]);
  }

  /** Restores, starts the server and waits until it says that it is no longer in recovery. It syncs, as ours does. */
  recover(dataDir: string): Command {
    const [name = '', ...args] = this.#words(['restore', `--pg1-path=${dataDir}`, '--type=immediate', '--target-action=promote']);
    const env = connectionOf(this.#server);
    const bin = '/usr/lib/postgresql/15/bin';
    const port = 1;
    const settings = `-p ${port} -c listen_addresses= -c unix_socket_directories=${dataDir} -c archive_mode=off -c fsync=on`;
    const script = `set -e; dir="$1"; shift; "$@"
${bin}/pg_ctl -D "$dir" -w -s -l "$dir/log" -o "${settings}" start || { cat "$dir/log"; exit 1; }
while recovering="$(${bin}/psql -Atc 'SELECT pg_is_in_recovery()' postgres)" && [ "$recovering" != f ]; do sleep 0.05; done
[ "$recovering" = f ]
${bin}/pg_ctl -D "$dir" -s -m immediate stop`;
    const [first = '', ...rest] = asOwner(['/bin/bash', '-c', script, 'bash', dataDir, name, ...args]);
    // The server reads PGPORT too.
    return { program: first, args: rest, env: { ...env, PGHOST: dataDir, PGPORT: String(port) } };
  }

  #command(words: readonly string[]): Command {
    const [first = '', ...args] = asOwner(this.#words(words));
    return { program: first, args, env: connectionOf(this.#server) };
  }

  #words(words: readonly string[]): string[] {
    return [this.#program, `--config=${this.#config}`, '--stanza=bench', ...words];
  }
}

function asOwner(words: readonly string[]): string[] {
  return isRoot ? ['setpriv', '--reuid', String(nobody), '--regid', String(nobody), '--clear-groups', ...words] : [...words];
}

/** A folder that the server's owner may write. */
export function makeOwnedFolder(path: string): string {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (isRoot) chownSync(path, nobody, nobody);
  return path;
}
