import { stat } from 'node:fs/promises';
import { writeResult } from '@holdfast/database/run-results';
import type { Database } from '@holdfast/database/open-database';
import { commitUnderFence, type Claim } from '@holdfast/database/runs';
import { errnoCode } from '@holdfast/errors/errno-code';
import type { Target } from '@holdfast/sources/target';
import { z } from 'zod';

/**
 * How a second attempt of a recovery may go on in the folder that the first one half filled, while a stranger's folder is
 * refused: as soon as the target has found its folder empty (or made it) and before anything is written, the row notes which
 * folder that was, by device and inode. The next attempt of the same run may write into that very folder and no other: one that
 * was moved away and made anew, or filled before this run opened it, is not the one noted.
 */
const noteSchema = z.object({ target: z.object({ path: z.string(), device: z.string(), inode: z.string() }) });

/** True when a former attempt of the run found this folder empty and began to fill it. `metadata` is the row's. */
export async function ownedTarget(metadata: unknown, path: string): Promise<boolean> {
  const note = noteSchema.safeParse(metadata);
  if (!note.success || note.data.target.path !== path) return false;
  try {
    const identity = await identityOf(path);
    return identity.device === note.data.target.device && identity.inode === note.data.target.inode;
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** The same target, which notes its folder on the row once it is open. Its `open` also throws run_superseded and run_cancelled. */
export function rememberTarget(
  target: Target,
  { path, database, claim }: { readonly path: string; readonly database: Database; readonly claim: Claim<'recovery'> },
): Target {
  return {
    async open() {
      await target.open();
      const note = { target: { path, ...(await identityOf(path)) } };
      await commitUnderFence(database, claim, (tx) => writeResult(tx, 'recovery', claim.id, { metadata: note }));
    },
    makeDirectory: (at, node) => target.makeDirectory(at, node),
    finishDirectory: (at, node) => target.finishDirectory(at, node),
    openFile: (at, node) => target.openFile(at, node),
    makeNode: (at, node) => target.makeNode(at, node),
    makeHardLink: (at, existing) => target.makeHardLink(at, existing),
    get threadOptions() {
      return target.threadOptions;
    },
    get warnings() {
      return target.warnings;
    },
    close: () => target.close(),
  };
}

/** Which folder it is, whatever its name. */
export async function identityOf(path: string): Promise<{ device: string; inode: string }> {
  const { dev, ino } = await stat(path, { bigint: true });
  return { device: String(dev), inode: String(ino) };
}
