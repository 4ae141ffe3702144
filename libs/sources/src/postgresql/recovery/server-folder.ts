import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { giveTo, type Account } from './server-account.ts';
import { inspectProcess, processEnded, signalProcess } from './running-process.ts';

/**
 * What a server over restored data has beside its data folder, in a folder of its own below the scratch folder of the worker:
 *
 *     recovery-Xy12Ab/server.json      who started it, and what it works on; ours alone, so no server can change it
 *     recovery-Xy12Ab/server.log
 *     recovery-Xy12Ab/*.conf           its configuration
 *     recovery-Xy12Ab/socket/          its own (0700)
 *
 * Whoever starts the next server ends those whose starter is gone: a worker that was killed could not.
 */
export interface ServerFolder {
  readonly path: string;
  readonly log: string;
  readonly configFile: string;
  readonly accessFile: string;
  readonly identFile: string;
  readonly socketDir: string;
}

const recordSchema = z.object({
  host: z.string(),
  starterPid: z.int(),
  starterBegan: z.string(),
  dataDir: z.string(),
  socketDir: z.string(),
  removeDataDir: z.boolean(),
  serverPid: z.int().nullable(),
});
type ServerRecord = z.infer<typeof recordSchema>;

const folderPrefix = 'recovery-';
const recordName = 'server.json';
/** sun_path of Linux and macOS hold 108 and 104 bytes; `/.s.PGSQL.5432` and a NUL come behind. */
const maxSocketDirBytes = 88;
/** Searchable, so that the server finds its own files, but not listable. */
const passableMode = 0o711;
const quitTimeoutMs = 10_000;

/** Makes the folder. Code: configuration_invalid, when no socket can be made. */
export async function makeServerFolder(
  scratchRoot: string,
  options: { readonly dataDir: string; readonly removeDataDir: boolean; readonly account: Account; readonly accessRules: string },
): Promise<ServerFolder> {
  const { dataDir, removeDataDir, account } = options;
  await mkdir(scratchRoot, { recursive: true });
  const path = await mkdtemp(join(scratchRoot, folderPrefix));
  try {
    await chmod(path, passableMode);
    const inFolder = join(path, 'socket');
    const socketDir = Buffer.byteLength(inFolder) <= maxSocketDirBytes ? inFolder : await mkdtemp(join(tmpdir(), 'holdfast-'));
    if (Buffer.byteLength(socketDir) > maxSocketDirBytes) {
      throw new HoldfastError('configuration_invalid', `no socket has room in ${JSON.stringify(socketDir)}: its path is too long`, {
        hint: 'name a shorter folder for scratch files',
      });
    }
    await mkdir(socketDir, { recursive: true, mode: 0o700 });
    await giveTo(socketDir, account);
    const folder: ServerFolder = {
      path,
      socketDir,
      log: join(path, 'server.log'),
      configFile: join(path, 'postgresql.conf'),
      accessFile: join(path, 'pg_hba.conf'),
      identFile: join(path, 'pg_ident.conf'),
    };
    await writeRecord(path, { ...(await starter()), dataDir, socketDir, removeDataDir, serverPid: null });
    for (const [file, text] of [
      [folder.configFile, ''],
      [folder.accessFile, options.accessRules],
      [folder.identFile, ''],
    ] as const) {
      await writeFile(file, text, { mode: 0o600 });
      await giveTo(file, account);
    }
    return folder;
  } catch (error) {
    await rm(path, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Makes a folder for a data folder (`data` in it, not made) and what belongs to it, that is found and removed by endOrphanServers when
 * this process ends before it does so with removeServerFolder.
 */
export async function claimScratchFolder(scratchRoot: string): Promise<{ readonly path: string; readonly dataDir: string }> {
  await mkdir(scratchRoot, { recursive: true });
  const path = await mkdtemp(join(scratchRoot, folderPrefix));
  await chmod(path, passableMode);
  const dataDir = join(path, 'data');
  await writeRecord(path, { ...(await starter()), dataDir, socketDir: join(path, 'socket'), removeDataDir: true, serverPid: null });
  return { path, dataDir };
}

async function starter(): Promise<Pick<ServerRecord, 'host' | 'starterPid' | 'starterBegan'>> {
  return { host: hostname(), starterPid: process.pid, starterBegan: (await inspectProcess(process.pid))?.began ?? '' };
}

/** Notes the server's process, so that a later start finds it even when its data folder says nothing. */
export async function noteServerProcess({ path }: ServerFolder, serverPid: number): Promise<void> {
  const record = await readRecord(path);
  if (record !== null) await writeRecord(path, { ...record, serverPid });
}

/** Removes the folder, and the data folder when it is to go with it. */
export async function removeServerFolder({ path }: Pick<ServerFolder, 'path'>): Promise<void> {
  const record = await readRecord(path);
  if (record?.removeDataDir === true) await rm(record.dataDir, { recursive: true, force: true });
  if (record !== null) await rm(record.socketDir, { recursive: true, force: true });
  await rm(path, { recursive: true, force: true });
}

/**
 * Ends the servers of this machine below the scratch folder whose starter is gone, and removes what they left. Gives the data folders
 * that had one. Servers of living processes, and of other machines that share the folder, are left alone.
 */
export async function endOrphanServers(scratchRoot: string): Promise<string[]> {
  const names = await readdir(scratchRoot).catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return [];
    throw error;
  });
  const ended: string[] = [];
  for (const name of names.filter((each) => each.startsWith(folderPrefix))) {
    const path = join(scratchRoot, name);
    const record = await readRecord(path);
    if (record === null || record.host !== hostname()) continue;
    if ((await inspectProcess(record.starterPid))?.began === record.starterBegan) continue;
    await endServerOn(record);
    await removeServerFolder({ path });
    ended.push(record.dataDir);
  }
  return ended;
}

async function endServerOn({ dataDir, serverPid }: ServerRecord): Promise<void> {
  const noted = Number((await readText(join(dataDir, 'postmaster.pid')))?.split('\n')[0] ?? 0);
  for (const pid of new Set([serverPid ?? 0, noted])) {
    if (!Number.isInteger(pid) || pid <= 1) continue;
    // The number may long be somebody else's, and the file in the data folder is what a server wrote.
    if ((await inspectProcess(pid))?.commandLine.includes(`postgres -D ${dataDir} `) !== true) continue;
    signalProcess(pid, 'SIGQUIT');
    if (await processEnded(pid, quitTimeoutMs)) continue;
    signalProcess(pid, 'SIGKILL');
    await processEnded(pid, quitTimeoutMs);
  }
}

/** Null for a folder that was not finished being made. */
async function readRecord(path: string): Promise<ServerRecord | null> {
  const text = await readText(join(path, recordName));
  return text === null ? null : recordSchema.parse(JSON.parse(text));
}

async function writeRecord(path: string, record: ServerRecord): Promise<void> {
  const building = join(path, `${recordName}.new`);
  await writeFile(building, JSON.stringify(record), { mode: 0o600 });
  await rename(building, join(path, recordName));
}

async function readText(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return null;
    throw error;
  });
}
