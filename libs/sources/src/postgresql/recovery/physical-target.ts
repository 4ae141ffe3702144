import { lchownSync } from 'node:fs';
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from '../../allowed-roots.ts';
import { readingError, writingError } from '../../file-system-error.ts';
import { parseBackupLabel } from './backup-label.ts';
import { encodeSettings, foreignSettings, recoverySettings, type RecoverySettings } from './recovery-settings.ts';
import { assertReachable, type Account } from './server-account.ts';
import { encodeTablespaceMap, parseTablespaceMap } from './tablespace-map.ts';

/**
 * The data folder of a cluster that is restored: checked before anything is written, and once the files of a base backup are in it, made
 * ready to start. Tablespaces come as `pg_tblspc/<oid>/…` and are moved to where tablespace_map will say:
 *
 *     <data folder>/recovery.signal, postgresql.auto.conf     where WAL comes from, where to stop
 *     <data folder>/tablespaces/<oid>                         a tablespace that no other place was given for
 */
export interface PhysicalTargetOptions extends RecoverySettings {
  /** Missing or empty. */
  readonly dataDir: string;
  /** Folders that the data folder, WAL and tablespaces must be in. */
  readonly roots: readonly string[];
  /** By OID, for tablespaces that shall not lie below the data folder; each missing or empty. */
  readonly tablespaces?: ReadonlyMap<string, string> | undefined;
  /** Who shall own everything, WAL included; only root can give files away. */
  readonly owner?: Account | undefined;
}

export interface PhysicalTarget {
  /** Real, and there, with nothing in it. */
  readonly dataDir: string;
  readonly settings: RecoverySettings;
  readonly tablespaces: ReadonlyMap<string, string>;
  readonly owner: Account | undefined;
}

export interface FinishedTarget {
  readonly majorVersion: number;
  readonly tablespaces: ReadonlyMap<string, string>;
  /** What whoever starts it should know. */
  readonly notes: readonly string[];
}

const folderMode = 0o700;
const fileMode = 0o600;

/** Folders that a server expects and a base backup has empty, or not at all when a way on it dropped empty folders. */
const neededFolders = [
  'pg_wal',
  'pg_wal/archive_status',
  'pg_dynshmem',
  'pg_notify',
  'pg_replslot',
  'pg_serial',
  'pg_snapshots',
  'pg_stat',
  'pg_stat_tmp',
  'pg_subtrans',
  'pg_tblspc',
  'pg_twophase',
  'pg_commit_ts',
  'pg_logical',
  'pg_logical/snapshots',
  'pg_logical/mappings',
];

/** Of a server that runs, or of what it was before. standby.signal would win over recovery.signal. */
const foreignFiles = ['postmaster.pid', 'postmaster.opts', 'standby.signal'];

/** Where a distribution keeps its configuration elsewhere, nothing of it is in a base backup. */
const configurationInstead = {
  'postgresql.conf': `# Made by a recovery: the base backup holds no postgresql.conf.
listen_addresses = 'localhost'
# Without it no setting has to be as large as it was at the server that wrote the WAL. Remove it once recovery has ended.
hot_standby = off
`,
  'pg_hba.conf': '# Made by a recovery: the base backup holds no pg_hba.conf.\nlocal all all peer\nhost all all localhost scram-sha-256\n',
  'pg_ident.conf': '',
};

/**
 * Checks everything that can be known before, then makes the data folder (0700) if it is missing. Nothing is changed when it throws.
 * Codes: request_invalid, path_outside_roots, path_not_found (the folder of WAL), target_not_empty, target_not_writable.
 */
export async function preparePhysicalTarget(options: PhysicalTargetOptions): Promise<PhysicalTarget> {
  const { roots, stop, timeline, action } = options;
  const walDir = await resolveInsideRoots(options.walDir, roots);
  const settings = { stop, timeline, action, walDir };
  recoverySettings(settings);
  const dataDir = await resolveInsideRoots(options.dataDir, roots);
  const tablespaces = new Map<string, string>();
  for (const [oid, path] of options.tablespaces ?? []) {
    if (!isOid(oid)) throw new HoldfastError('request_invalid', `a tablespace is named by its OID, not ${JSON.stringify(oid)}`);
    tablespaces.set(oid, await resolveInsideRoots(path, roots));
  }
  assertApart([dataDir, walDir, ...tablespaces.values()]);
  await assertFolder(walDir);
  for (const path of [dataDir, ...tablespaces.values()]) await assertEmpty(path);
  await written(dataDir, mkdir(dataDir, { recursive: true, mode: folderMode }));
  return { dataDir, settings, tablespaces, owner: options.owner };
}

/**
 * Makes a data folder that holds a full base backup ready to start. When it throws, the folder is not ready, and says so: recovery.signal
 * comes last. Codes: postgresql_chain_broken (no base backup, or half of one), target_not_empty, target_not_writable, disk_full,
 * configuration_invalid (a folder on the way is closed to the owner).
 */
export async function finishPhysicalTarget({ dataDir, settings, tablespaces, owner }: PhysicalTarget): Promise<FinishedTarget> {
  const notes: string[] = [];
  const majorVersion = await readMajorVersion(dataDir);
  const label = await readIfThere(posix.join(dataDir, 'backup_label'));
  // Without it a server begins at whatever checkpoint its control file names, and ends with pages of several times.
  if (label === null) throw broken(dataDir, 'it has no backup_label');
  if (parseBackupLabel(label).incrementalFrom !== null) throw broken(dataDir, 'it is an incremental one that was not combined');
  for (const name of foreignFiles) await rm(posix.join(dataDir, name), { force: true });
  for (const folder of neededFolders) {
    const path = posix.join(dataDir, folder);
    await written(path, mkdir(path, { recursive: true, mode: folderMode }));
  }
  const placed = await placeTablespaces(dataDir, tablespaces, notes);
  for (const [name, text] of Object.entries(configurationInstead)) {
    if ((await readIfThere(posix.join(dataDir, name))) !== null) continue;
    await put(posix.join(dataDir, name), text);
    notes.push(`the base backup holds no ${name}; a small one was made`);
  }
  await silenceForeignSettings(dataDir, notes);
  const automatic = posix.join(dataDir, 'postgresql.auto.conf');
  await put(automatic, ((await readIfThere(automatic)) ?? '') + encodeSettings(recoverySettings(settings)));
  await written(dataDir, chmod(dataDir, folderMode));
  await put(posix.join(dataDir, 'recovery.signal'), '');
  if (owner !== undefined) {
    // WAL too: what the server's account cannot read counts as not there, and the recovery would end early.
    for (const path of [dataDir, settings.walDir, ...placed.values()]) {
      await giveTreeTo(path, owner);
      await assertReachable(path, owner);
    }
  }
  return { majorVersion, tablespaces: placed, notes };
}

async function placeTablespaces(
  dataDir: string,
  wanted: ReadonlyMap<string, string>,
  notes: string[],
): Promise<ReadonlyMap<string, string>> {
  const mapPath = posix.join(dataDir, 'tablespace_map');
  const mapped = parseTablespaceMap((await readIfThere(mapPath)) ?? '').keys();
  // One that no map names was in place at its source: a folder, which only a server with a developer's setting takes.
  const inPlace = await readdir(posix.join(dataDir, 'pg_tblspc'));
  const placed = new Map<string, string>();
  for (const oid of new Set([...mapped, ...inPlace])) {
    if (!isOid(oid)) throw broken(dataDir, `${JSON.stringify(oid)} in pg_tblspc is no tablespace`);
    const location = wanted.get(oid) ?? posix.join(dataDir, 'tablespaces', oid);
    placed.set(oid, location);
    await moveFolder(posix.join(dataDir, 'pg_tblspc', oid), location);
    if (!wanted.has(oid)) notes.push(`tablespace ${oid} lies below the data folder, where base backups would take it twice`);
  }
  if (placed.size > 0) await put(mapPath, encodeTablespaceMap(placed));
  return placed;
}

function isOid(text: string): boolean {
  return /^[1-9]\d{0,9}$/u.test(text);
}

/** A tablespace without any file is a folder too; the server makes its link itself. */
async function moveFolder(from: string, to: string): Promise<void> {
  await assertEmpty(to);
  await written(to, mkdir(posix.dirname(to), { recursive: true, mode: folderMode }));
  try {
    await rename(from, to);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') {
      await written(to, mkdir(to, { recursive: true, mode: folderMode }));
      return;
    }
    if (errnoCode(error) !== 'EXDEV') throw writingError(error, to);
    await written(to, cp(from, to, { recursive: true, errorOnExist: true, force: false, preserveTimestamps: true }));
    await written(from, rm(from, { recursive: true }));
  }
}

/** Comments out what the restored configuration says of recovering and following: with a second target a server does not start. */
async function silenceForeignSettings(dataDir: string, notes: string[]): Promise<void> {
  for (const name of ['postgresql.conf', 'postgresql.auto.conf']) {
    const path = posix.join(dataDir, name);
    const text = (await readIfThere(path)) ?? '';
    const silenced: string[] = [];
    const lines = text.split('\n').map((line) => {
      const setting = /^\s*(\w+)(?:\s|=)/u.exec(line)?.[1]?.toLowerCase() ?? '';
      if (!foreignSettings.test(setting)) return line;
      silenced.push(setting);
      return `#${line}`;
    });
    if (silenced.length === 0) continue;
    await put(path, lines.join('\n'));
    notes.push(`${name} no longer sets ${[...new Set(silenced)].join(', ')}`);
  }
}

async function readMajorVersion(dataDir: string): Promise<number> {
  const text = await readIfThere(posix.join(dataDir, 'PG_VERSION'));
  const major = Number(text?.trim());
  if (!Number.isInteger(major) || major < 1) throw broken(dataDir, 'it has no PG_VERSION');
  if ((await readIfThere(posix.join(dataDir, 'global', 'pg_control'))) === null) throw broken(dataDir, 'it has no global/pg_control');
  return major;
}

/** None may be in another. Code: request_invalid. */
export function assertApart(paths: readonly string[]): void {
  for (const [index, path] of paths.entries()) {
    const other = paths.find((each, at) => at !== index && (each === path || each.startsWith(`${path}/`)));
    if (other !== undefined) {
      const message = `the data folder, WAL and tablespaces need folders apart: ${JSON.stringify(other)} is in ${JSON.stringify(path)}`;
      throw new HoldfastError('request_invalid', message, { context: { path, other } });
    }
  }
}

async function assertFolder(path: string): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    throw readingError(error, path);
  });
  if (!found.isDirectory()) throw new HoldfastError('path_not_found', `${JSON.stringify(path)} is no folder`, { context: { path } });
}

/** Missing counts as empty. Codes: target_not_empty, target_not_writable. */
export async function assertEmpty(path: string): Promise<void> {
  const names = await readdir(path).catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return [];
    throw writingError(error, path);
  });
  if (names.length > 0) {
    throw new HoldfastError('target_not_empty', `${JSON.stringify(path)} is not empty`, {
      hint: 'choose an empty folder: a cluster is never restored over another one',
      context: { path },
    });
  }
}

async function put(path: string, text: string): Promise<void> {
  await written(path, writeFile(path, text, { mode: fileMode }));
}

async function written<T>(path: string, call: Promise<T>): Promise<T> {
  return call.catch((error: unknown) => {
    throw writingError(error, path);
  });
}

async function readIfThere(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return null;
    throw readingError(error, path);
  });
}

/** The folder and everything in it; links themselves, and not what they lead to. A call costs less than to wait for another thread's. */
async function giveTreeTo(path: string, owner: Account): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true });
  try {
    lchownSync(path, owner.uid, owner.gid);
    for (const entry of entries) if (!entry.isDirectory()) lchownSync(posix.join(path, entry.name), owner.uid, owner.gid);
  } catch (error) {
    throw writingError(error, path);
  }
  for (const entry of entries) if (entry.isDirectory()) await giveTreeTo(posix.join(path, entry.name), owner);
}

function broken(dataDir: string, what: string): HoldfastError {
  return new HoldfastError('postgresql_chain_broken', `${JSON.stringify(dataDir)} holds no whole base backup: ${what}`, {
    context: { dataDir },
  });
}
