import { execFile } from 'node:child_process';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { workerMemory } from '../../libs/settings/src/worker-memory.ts';
import { benchPassword, withInput, type BackupTool } from './backup-tool.ts';
import type { Command } from '../bench/measured-run.ts';

const program = join(import.meta.dirname, 'holdfast-command.ts');

export interface HoldfastToolOptions {
  /** For the empty repository and for compiled code. */
  readonly folder: string;
  /** A folder for a processor profile of every run. */
  readonly profileFolder?: string;
}

/**
 * Our engine. Its empty repository, with a key of the default cost, is made once and copied, for restic too: both then derive the same key
 * with the same parameters, and cut at the same places.
 */
export async function openHoldfastTool({ folder, profileFolder }: HoldfastToolOptions): Promise<BackupTool> {
  // A worker compiles its code once in its life and not once a backup, so the code is found compiled.
  const env = {
    RESTIC_PASSWORD: benchPassword,
    NODE_COMPILE_CACHE: join(folder, 'compiled'),
    NODE_NO_WARNINGS: '1',
    ...workerMemory,
    HOLDFAST_STAT_CACHE: join(folder, 'stat-cache'),
  };
  const profile = profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
  const commandOf = (words: readonly string[], flags: readonly string[]): Command => ({
    program: process.execPath,
    args: [...flags, program, ...words],
    env,
  });
  const empty = join(folder, 'empty-repository');
  const [tried, little] = [join(folder, 'tried-repository'), join(folder, 'tried-folder')];
  await mkdir(little);
  await writeFile(join(little, 'file'), 'little');
  const backup = ['backup', tried, little];
  // Each word loads modules of its own: these runs fill the cache of compiled code.
  for (const words of [['init', empty], ['init', tried], backup, ['check', tried], ['restore', tried, join(folder, 'tried-target')]]) {
    const { args } = commandOf(words, []);
    await promisify(execFile)(process.execPath, [...args], { env: { ...process.env, ...env } });
  }
  return {
    name: 'holdfast',
    version: `working copy, Node ${process.versions.node}`,
    makeRepository: (path) => cp(empty, path, { recursive: true }),
    streamCommandFor: (file, repositoryPath) => withInput(file, commandOf(['stream', repositoryPath], profile)),
    commandFor: (work, repositoryPath) => {
      if (work.kind === 'backup') return commandOf(['backup', repositoryPath, work.folder], profile);
      if (work.kind === 'restore') return commandOf(['restore', repositoryPath, work.target], profile);
      return commandOf(['check', repositoryPath], profile);
    },
  };
}
