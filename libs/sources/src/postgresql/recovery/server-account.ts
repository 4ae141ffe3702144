import { chown, cp, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ServerPrograms } from './server-programs.ts';

/**
 * Who runs a server over restored data. What is in a cluster is its owner's: functions, triggers, settings. A server over it gets an
 * account without rights when this process is root (PostgreSQL would refuse root anyway) and keeps no right of ours, not even to pass
 * closed folders: those have to be open on the way.
 */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** The account that every Unix has for what needs no rights. */
const nobody = 65_534;

/** This user, or one without rights when this user is root: give restored files to it. */
export function serverAccount(): Account {
  const uid = process.getuid?.() ?? 0;
  return uid === 0 ? { uid: nobody, gid: nobody } : { uid, gid: process.getgid?.() ?? uid };
}

/** The account that owns the data folder. Code: configuration_invalid, when a server could not run as it. */
export async function ownerOf(dataDir: string): Promise<Account> {
  const { uid, gid } = await stat(dataDir);
  const self = process.getuid?.() ?? uid;
  if (uid !== 0 && (self === 0 || self === uid)) return { uid, gid };
  const reason = uid === 0 ? 'root, and no server runs as root' : `user ${uid}, and this is user ${self}`;
  throw new HoldfastError('configuration_invalid', `${JSON.stringify(dataDir)} belongs to ${reason}`, {
    hint: 'restore it for the account that the server runs as',
    context: { dataDir },
  });
}

/** Hands a folder or file of ours to the account. */
export async function giveTo(path: string, { uid, gid }: Account): Promise<void> {
  if (process.getuid?.() === 0) await chown(path, uid, gid);
}

/** Code: configuration_invalid, when a folder on the way to `path` is closed to the account. */
export async function assertReachable(path: string, account: Account): Promise<void> {
  const closed = await closedFolder(path, account);
  if (closed === null) return;
  throw new HoldfastError('configuration_invalid', `user ${account.uid}, who runs the server, may not pass ${JSON.stringify(closed)}`, {
    hint: 'choose a folder for scratch files that others may pass (chmod o+x), such as one below /var/lib or /tmp',
    context: { path, closed },
  });
}

/**
 * The programs where the account can run them: itself, or when only root may pass a folder on the way (an npm package below a home), a
 * copy of their installation in `folder`, made once.
 */
export async function reachablePrograms(programs: ServerPrograms, account: Account, folder: string): Promise<ServerPrograms> {
  if ((await closedFolder(programs.postgres, account)) === null) return programs;
  const installation = dirname(dirname(programs.postgres));
  const copy = join(folder, `postgresql-${programs.version}`);
  const postgres = join(copy, relative(installation, programs.postgres));
  const isThere = await stat(postgres).then(
    () => true,
    () => false,
  );
  if (!isThere) {
    // Beside its place and then renamed: half a copy is never run, and of two that are made at once either will do.
    const building = await mkdtemp(join(folder, `${basename(copy)}.new-`));
    try {
      await cp(installation, join(building, 'copy'), { recursive: true, verbatimSymlinks: true });
      await rename(join(building, 'copy'), copy).catch(async (error: unknown) => {
        await stat(postgres).catch(() => {
          throw error;
        });
      });
    } finally {
      await rm(building, { recursive: true, force: true });
    }
  }
  await assertReachable(postgres, account);
  return { ...programs, postgres };
}

/** The first folder above `path` that the account may not pass; null when there is none. */
async function closedFolder(path: string, { uid, gid }: Account): Promise<string | null> {
  if (process.getuid?.() !== 0) return null;
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const found = await stat(folder);
    const searchable = found.uid === uid ? 0o100 : found.gid === gid ? 0o010 : 0o001;
    if ((found.mode & searchable) === 0) return folder;
    if (folder === dirname(folder)) return null;
  }
}
