import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { assertReachable, giveTo, reachablePrograms, type Account } from './server-account.ts';
import type { ServerPrograms } from './server-programs.ts';

export interface NewCluster {
  /** Is made. */
  readonly dataDir: string;
  readonly scratchRoot: string;
  readonly programs: ServerPrograms;
  readonly account: Account;
  readonly superuser: string;
  readonly signal: AbortSignal;
}

/** It writes 40 MB. */
const initdbTimeoutMs = 120_000;
const maxSaidLength = 600;

/**
 * Makes an empty cluster that is thrown away later: in UTF-8 and the locale C, which every machine has, with checksums of pages. Codes:
 * postgresql_tool_missing (a server's package without initdb), configuration_invalid (a closed folder on the way), postgresql_failed, disk_full;
 * the signal's reason.
 */
export async function makeScratchCluster({ dataDir, scratchRoot, account, superuser, signal, ...options }: NewCluster): Promise<void> {
  const programs = await reachablePrograms(options.programs, account, scratchRoot);
  await assertReachable(dataDir, account);
  await mkdir(dataDir, { mode: 0o700 });
  await giveTo(dataDir, account);
  const initdb = join(dirname(programs.postgres), 'initdb');
  const access = [`--username=${superuser}`, '--auth=trust'];
  const kind = ['--encoding=UTF8', '--locale=C', '--data-checksums', '--no-sync', '--no-instructions'];
  try {
    await promisify(execFile)(initdb, ['-D', dataDir, ...access, ...kind], {
      ...(process.getuid?.() === 0 ? account : {}),
      // Empty: ours holds secrets.
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
      cwd: '/',
      timeout: initdbTimeoutMs,
      signal,
    });
  } catch (error) {
    signal.throwIfAborted();
    if (errnoCode(error) === 'ENOENT') {
      throw new HoldfastError('postgresql_tool_missing', `there is no initdb beside ${programs.postgres}`, {
        hint: `install all programs of the server (on Debian: postgresql-${programs.majorVersion}, with no cluster made)`,
        cause: error,
      });
    }
    const said = error instanceof Error ? error.message : String(error);
    throw new HoldfastError(
      'postgresql_recovery_failed',
      `no cluster could be made for the restore test: ${said.slice(0, maxSaidLength)}`,
      {
        cause: error,
      },
    );
  }
}
