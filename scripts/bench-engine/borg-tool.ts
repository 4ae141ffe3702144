import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { benchPassword, type BackupTool } from './backup-tool.ts';

/** The borg of BORG_BIN or of the PATH (1.x), zstd level 3, encrypted; null when there is none. Its key derivation is its own. */
export async function openBorgTool(folder: string): Promise<BackupTool | null> {
  const program = process.env['BORG_BIN'] ?? 'borg';
  // BORG_BASE_DIR: its keys, its notes on repositories and its cache of files.
  const env = { BORG_BASE_DIR: join(folder, 'borg'), BORG_PASSPHRASE: benchPassword };
  const run = async (args: readonly string[]): Promise<string> =>
    (await promisify(execFile)(program, [...args], { env: { ...process.env, ...env } })).stdout;
  const version = await run(['--version']).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (version === null) return null;
  await mkdir(env.BORG_BASE_DIR, { recursive: true });
  let archiveCount = 0;
  return {
    name: 'borg',
    version: version.trim().replace(/^borg /, ''),
    makeRepository: async (path) => void (await run(['init', '--encryption', 'repokey-blake2', path])),
    commandFor: (work, repositoryPath) => {
      if (work.kind === 'check') return { program, env, args: ['check', '--verify-data', repositoryPath] };
      if (work.kind === 'backup') {
        return { program, env, args: ['create', '--compression', 'zstd,3', `${repositoryPath}::${++archiveCount}`, work.folder] };
      }
      return { program, env, args: ['extract', `${repositoryPath}::${archiveCount}`], cwd: work.target };
    },
  };
}
