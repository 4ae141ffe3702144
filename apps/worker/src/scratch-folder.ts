import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Database } from '@holdfast/database/open-database';
import type { Claim } from '@holdfast/database/runs';
import { errnoCode } from '@holdfast/errors/errno-code';
import type { Logger } from 'pino';

/**
 * Folders of restore tests, and of copies that backups make: `<scratch dir>/<id of the run>-<fencing number>`. They hold other people's data in
 * the clear, so only the worker's user may enter, and they go in every case: at the end of the run, and by the sweep when a worker died in it.
 */
export interface ScratchFolder extends AsyncDisposable {
  readonly path: string;
}

/**
 * Others may pass it, not list it: a restore test's server runs as an account without rights when the worker is root. What is in it is
 * closed, each by itself.
 */
const scratchDirMode = 0o711;

export async function makeScratchDir(scratchDir: string): Promise<void> {
  await mkdir(scratchDir, { recursive: true, mode: scratchDirMode });
}

const folderPattern = /^(?<id>[a-z0-9]{1,64})-(?<fence>\d{1,19})$/u;

export async function makeScratchFolder(scratchDir: string, claim: Claim, logger: Logger): Promise<ScratchFolder> {
  const path = join(scratchDir, `${claim.id}-${claim.fencingNumber}`);
  await makeScratchDir(scratchDir);
  await mkdir(path, { mode: 0o700 });
  return {
    path,
    async [Symbol.asyncDispose]() {
      try {
        await removeFolder(path);
      } catch (error) {
        // The result of the run stands; the sweep tries again.
        logger.warn({ err: error, path }, 'a scratch folder could not be removed');
      }
    },
  };
}

/** Removes the folders of runs that nobody works on any more; returns how many. */
export async function sweepScratchFolders(scratchDir: string, database: Database): Promise<number> {
  const found = (await namesIn(scratchDir)).flatMap((name) => {
    const groups = folderPattern.exec(name)?.groups;
    return groups?.['id'] === undefined ? [] : [{ name, id: groups['id'], fence: groups['fence'] }];
  });
  if (found.length === 0) return 0;
  const query = {
    where: { id: { in: found.map((folder) => folder.id) }, status: 'running' },
    select: { id: true, fencingNumber: true },
  } as const;
  const { backupVerification, backupJob, recoveryJob } = database.client;
  const running = [await backupVerification.findMany(query), await backupJob.findMany(query), await recoveryJob.findMany(query)];
  const used = new Set(running.flat().map((row) => `${row.id}-${row.fencingNumber}`));
  const left = found.filter((folder) => !used.has(folder.name));
  for (const folder of left) await removeFolder(join(scratchDir, folder.name));
  return left.length;
}

async function removeFolder(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (errnoCode(error) !== 'EACCES') throw error;
    // Restored folders may deny their own user to write into them.
    await openFolders(path);
    await rm(path, { recursive: true, force: true });
  }
}

async function openFolders(path: string): Promise<void> {
  await chmod(path, 0o700);
  const entries = await readdir(path, { withFileTypes: true });
  for (const entry of entries) if (entry.isDirectory()) await openFolders(join(path, entry.name));
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return [];
    throw error;
  }
}
