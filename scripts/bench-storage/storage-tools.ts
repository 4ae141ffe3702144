import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { workerMemory } from '../../libs/settings/src/worker-memory.ts';
import type { Command } from '../bench/measured-run.ts';
import type { RclonePlace, ResticPlace, StoragePlace } from './storage-place.ts';

/** The programs that are measured, each as a command for one step. A peer is null when it is not here. */

const program = join(import.meta.dirname, 'holdfast-storage-command.ts');
export const repositoryPassword = 'bench';

export interface HoldfastStorageOptions {
  /** For compiled code, places and stat caches. */
  readonly folder: string;
  readonly connections: number;
  readonly profileFolder: string | undefined;
}

export class HoldfastStorage {
  readonly #options: HoldfastStorageOptions;
  readonly #flags: readonly string[];
  #placeCount = 0;

  constructor(options: HoldfastStorageOptions) {
    this.#options = options;
    const { profileFolder } = options;
    this.#flags = profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
  }

  put(place: StoragePlace, folder: string): Command {
    return this.#command('put', place, [folder, String(this.#options.connections)]);
  }

  get(place: StoragePlace, folder: string): Command {
    return this.#command('get', place, [folder, String(this.#options.connections)]);
  }

  backUp(place: StoragePlace, folder: string): Command {
    return this.#command('backup', place, [folder]);
  }

  restore(place: StoragePlace, target: string): Command {
    return this.#command('restore', place, [target]);
  }

  #command(word: string, { ours }: StoragePlace, words: readonly string[]): Command {
    const folder = join(this.#options.folder, 'holdfast');
    const placePath = join(folder, `place-${++this.#placeCount}.json`);
    mkdirSync(folder, { recursive: true });
    const options = { ...ours.options, maxConnections: this.#options.connections };
    writeFileSync(placePath, JSON.stringify({ ...ours, options }), { mode: 0o600 });
    const env = {
      RESTIC_PASSWORD: repositoryPassword,
      // A worker compiles its code once in its life.
      NODE_COMPILE_CACHE: join(folder, 'compiled'),
      NODE_NO_WARNINGS: '1',
      ...workerMemory,
      HOLDFAST_STAT_CACHE: join(folder, 'stat-cache'),
    };
    return { program: process.execPath, args: [...this.#flags, program, word, placePath, ...words], env };
  }
}

/** rclone with its defaults, but for the number of transfers. */
export class Rclone {
  readonly version: string;
  readonly #program: string;
  readonly #connections: number;

  private constructor(name: string, version: string, connections: number) {
    this.#program = name;
    this.version = version;
    this.#connections = connections;
  }

  static open(connections: number): Rclone | null {
    const name = process.env['RCLONE_BIN'] ?? 'rclone';
    const said = saidBy(name, ['version']);
    return said === null ? null : new Rclone(name, /^rclone v(\S+)/u.exec(said)?.[1] ?? said, connections);
  }

  put({ rclone }: StoragePlace, folder: string): Command {
    return this.#copy(rclone, folder, remoteOf(rclone));
  }

  get({ rclone }: StoragePlace, folder: string): Command {
    return this.#copy(rclone, remoteOf(rclone), folder);
  }

  #copy({ settings, args }: RclonePlace, from: string, to: string): Command {
    const named = Object.entries(settings).map(([name, value]) => [`RCLONE_CONFIG_BENCH_${name.toUpperCase()}`, value]);
    // It refuses S3 where the environment names authorities: its transport is not the one that Amazon's library knows.
    const env = { AWS_CA_BUNDLE: '', ...(Object.fromEntries(named) as Record<string, string>) };
    // No file of settings.
    return { program: this.#program, args: ['--config=', ...args, 'copy', '--transfers', String(this.#connections), from, to], env };
  }
}

function remoteOf({ path }: RclonePlace): string {
  return `bench:${path}`;
}

/** restic as a user runs it, with a cache that its backup fills. */
export class Restic {
  readonly version: string;
  readonly #program: string;
  readonly #options: string;
  readonly #connections: number;

  private constructor(name: string, version: string, connections: number) {
    this.#program = name;
    this.version = version;
    this.#connections = connections;
    this.#options = saidBy(name, ['options']) ?? '';
  }

  /** RESTIC_BIN and the one on the PATH, which may have been built with other kinds. */
  static all(connections: number): Restic[] {
    const names = new Set([process.env['RESTIC_BIN'] ?? 'restic', 'restic']);
    return [...names].flatMap((name) => {
      const said = saidBy(name, ['version']);
      return said === null ? [] : [new Restic(name, /^restic (\S+)/u.exec(said)?.[1] ?? said, connections)];
    });
  }

  knows({ backend }: ResticPlace): boolean {
    return this.#options.includes(`${backend}.connections`);
  }

  backUp(place: ResticPlace, cache: string, folder: string): Command {
    return this.#command(place, cache, ['backup', folder]);
  }

  restore(place: ResticPlace, cache: string, target: string): Command {
    return this.#command(place, cache, ['restore', 'latest', '--target', target]);
  }

  check(place: ResticPlace, cache: string, readsData: boolean): Command {
    return this.#command(place, cache, ['check', ...(readsData ? ['--read-data'] : [])]);
  }

  #command({ backend, repository, args, env }: ResticPlace, cache: string, words: readonly string[]): Command {
    const connections = ['-o', `${backend}.connections=${this.#connections}`];
    const common = ['--repo', repository, '--cache-dir', cache, ...connections, ...args];
    return { program: this.#program, args: [...common, ...words], env: { RESTIC_PASSWORD: repositoryPassword, ...env } };
  }
}

function saidBy(name: string, args: readonly string[]): string | null {
  try {
    return execFileSync(name, args, { encoding: 'utf8' }).trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
