import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { commitUnderFence } from '@holdfast/database/runs';
import { writeResult } from '@holdfast/database/run-results';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { writingError } from '@holdfast/sources/file-system-error';
import { assertEmpty } from '@holdfast/sources/postgresql/recovery/physical-target';
import { z } from 'zod';
import { identityOf } from '../owned-target.ts';
import type { RunInHand } from '../run-with-claim.ts';

/**
 * The folders that the recovery of a cluster fills: as owned-target.ts does it for one, the row notes which they are, by device and inode,
 * before anything is written to them. The next attempt of the same run empties them and begins anew: what half a cluster is made of
 * cannot be told from its files.
 */
const noteSchema = z.object({ folders: z.array(z.object({ path: z.string(), device: z.string(), inode: z.string() })) });

const folderMode = 0o700;

/**
 * Makes the folders, empties those that a former attempt of the run began to fill, and notes all of them. Nothing is changed when one
 * of the others holds something. Codes: target_not_empty, target_not_writable, run_superseded, run_cancelled.
 */
export async function takeFolders(run: RunInHand<'recovery'>, metadata: unknown, paths: readonly string[]): Promise<{ resumed: boolean }> {
  const noted = noteSchema.safeParse(metadata).data?.folders ?? [];
  const owned: string[] = [];
  for (const path of paths) {
    const note = noted.find((folder) => folder.path === path);
    if (note !== undefined && (await isThere(path))) {
      const { device, inode } = await identityOf(path);
      if (device === note.device && inode === note.inode) {
        owned.push(path);
        continue;
      }
    }
    await assertEmpty(path);
  }
  try {
    for (const path of owned) for (const name of await readdir(path)) await rm(join(path, name), { recursive: true, force: true });
  } catch (error) {
    throw writingError(error, owned.join(', '));
  }
  const folders: { path: string; device: string; inode: string }[] = [];
  for (const path of paths) {
    await mkdir(path, { recursive: true, mode: folderMode }).catch((error: unknown) => {
      throw writingError(error, path);
    });
    folders.push({ path, ...(await identityOf(path)) });
  }
  const { context, claim } = run;
  await commitUnderFence(context.database, claim, (tx) => writeResult(tx, 'recovery', claim.id, { metadata: { folders } }));
  return { resumed: owned.length > 0 };
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => {
      if (found.isDirectory()) return true;
      throw new HoldfastError('target_not_empty', `${JSON.stringify(path)} is no folder`, { context: { path } });
    },
    (error: unknown) => {
      if (errnoCode(error) === 'ENOENT') return false;
      throw writingError(error, path);
    },
  );
}
