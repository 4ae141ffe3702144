import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { benchPassword, withInput, type BackupTool } from './backup-tool.ts';

/** The restic of RESTIC_BIN or of the PATH, on copies of our empty repository; null when there is none. */
export async function openResticTool(makeRepository: BackupTool['makeRepository']): Promise<BackupTool | null> {
  const program = process.env['RESTIC_BIN'] ?? 'restic';
  const version = await versionOf(program);
  if (version === null) return null;
  // Without its cache restic is faster here: the repository is as near as the cache would be.
  const base = (repositoryPath: string): string[] => ['--no-cache', '--repo', repositoryPath];
  return {
    name: 'restic',
    version,
    makeRepository,
    streamCommandFor: (file, repositoryPath) => {
      const args = [...base(repositoryPath), 'backup', '--stdin'];
      return withInput(file, { program, args, env: { RESTIC_PASSWORD: benchPassword } });
    },
    commandFor: (work, repositoryPath) => {
      const env = { RESTIC_PASSWORD: benchPassword };
      if (work.kind === 'backup') return { program, env, args: [...base(repositoryPath), 'backup', work.folder] };
      if (work.kind === 'check') return { program, env, args: [...base(repositoryPath), 'check', '--read-data'] };
      return { program, env, args: [...base(repositoryPath), 'restore', 'latest', '--target', work.target] };
    },
  };
}

async function versionOf(program: string): Promise<string | null> {
  try {
    const { stdout } = await promisify(execFile)(program, ['version']);
    return /^restic (\S+)/.exec(stdout)?.[1] ?? stdout.trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
