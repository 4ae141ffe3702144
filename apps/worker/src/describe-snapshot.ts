import { createHash } from 'node:crypto';
import type { AdoptedBackup, AdoptedConfigInput } from '@holdfast/database/adopted-backups';
import type { Snapshot } from '@holdfast/engine/snapshots';
import { baseBackupPaths } from './postgresql/base-store.ts';
import { walPaths } from './postgresql/wal-store.ts';

/**
 * What a snapshot says of the backup that it is, to whoever has nothing but the repository. restic says host, user, paths, tags and times,
 * since 0.17 counts too; ours say by their tags which job and config made them (`holdfast`, `job:<id>`, `config:<id>`), and by their paths
 * what kind of backup they are.
 */
export type SnapshotKind = 'files' | 'database' | 'cluster' | 'wal';

/** Longest list of paths or tags in a row's metadata: rows are read whole by every list. */
const maxListed = 100;
const maxNameChars = 200;
/** What a source's options take. */
const maxSourcePaths = 64;
const maxSourcePathChars = 4095;
/** A cuid, as our rows have them; anything else in a tag is no id of ours. */
const rowId = /^[a-z][a-z0-9]{20,31}$/u;
/** As libs/sources' logical source has them. */
const logicalPaths: readonly string[] = ['/databases', '/globals.sql'];
const nsPerMs = 1_000_000n;

/** The ids of the rows that made it, as its tags say; null when no Holdfast did. */
export function makersOf({ tags = [] }: Snapshot): { readonly jobId: string; readonly configId: string } | null {
  const tagged = (prefix: string): string => tags.find((tag) => tag.startsWith(prefix))?.slice(prefix.length) ?? '';
  const [jobId, configId] = [tagged('job:'), tagged('config:')];
  return tags.includes('holdfast') && rowId.test(jobId) && rowId.test(configId) ? { jobId, configId } : null;
}

export function kindOf(snapshot: Snapshot): SnapshotKind {
  if (makersOf(snapshot) === null) return 'files';
  const isOf = (paths: readonly string[]): boolean => snapshot.paths.toSorted().join('\0') === paths.toSorted().join('\0');
  if (isOf(logicalPaths)) return 'database';
  if (isOf(baseBackupPaths)) return 'cluster';
  return isOf(walPaths) ? 'wal' : 'files';
}

/** The config for snapshots of files and of databases: that of their former config, or one for each host and set of paths. */
export function configOf(snapshot: Snapshot): AdoptedConfigInput {
  const { hostname = '', paths } = snapshot;
  const makers = makersOf(snapshot);
  const isDatabase = kindOf(snapshot) === 'database';
  const what = isDatabase ? 'PostgreSQL' : paths.join(', ');
  const group = createHash('sha256')
    .update(JSON.stringify([hostname, paths.toSorted()]))
    .digest('hex');
  return {
    adoptionKey: makers === null ? `paths:${group}` : `config:${makers.configId}`,
    formerId: makers?.configId,
    name: nameOf(hostname, what),
    backupType: isDatabase ? 'database_full' : 'file_system',
    source: isDatabase ? unknownServer('logical') : { type: 'file_system', paths: sourcePaths(paths) },
  };
}

export function nameOf(hostname: string, what: string): string {
  const name = `adopted: ${hostname} ${what}`.toWellFormed().replaceAll(/\p{Cc}/gu, '\u{fffd}');
  return name.length > maxNameChars ? `${name.slice(0, maxNameChars - 1).toWellFormed()}…` : name;
}

/** No snapshot says which server it was; `.invalid` is no host anywhere (RFC 2606), so nothing is asked before a user has named it. */
export function unknownServer(method: 'logical' | 'physical'): AdoptedConfigInput['source'] {
  const connection = { host: 'unknown.invalid', port: 5432, user: 'unknown', database: 'postgres', tls: { mode: 'verify-full' } };
  return { type: 'postgresql', method, connection };
}

export function backupOf(snapshot: Snapshot, location: string): Omit<AdoptedBackup, 'backupConfigId' | 'backupType'> {
  const { id, hostname = null, username = null, paths, tags = [], excludes = [], summary, parent = null, original = null } = snapshot;
  const startTime = dateOf(snapshot.timeNs);
  const { backupStartNs, backupEndNs, ...counts } = summary ?? {};
  const tookMs = backupStartNs === undefined || backupEndNs === undefined ? 0 : Number((backupEndNs - backupStartNs) / nsPerMs);
  return {
    formerId: makersOf(snapshot)?.jobId,
    snapshotId: id,
    filePath: `${location}/snapshots/${id}`,
    fileSize: summary === undefined ? null : BigInt(summary.totalBytesProcessed),
    checksum: snapshot.tree,
    startTime,
    endTime: new Date(startTime.getTime() + Math.max(0, tookMs)),
    metadata: {
      adopted: true,
      hostname,
      parentId: parent,
      summary: counts,
      snapshot: {
        username,
        paths: paths.slice(0, maxListed),
        pathCount: paths.length,
        tags: tags.slice(0, maxListed),
        excludes: excludes.slice(0, maxListed),
        original,
        programVersion: snapshot.programVersion ?? null,
      },
    },
  };
}

/** Lists go back to 1970 and not beyond. */
function dateOf(ns: bigint): Date {
  return new Date(Math.max(0, Number(ns / nsPerMs)));
}

/** As a source's options may name them: a path of Windows is in the snapshot as `/C/Users`; of too many the folder above stands for all. */
function sourcePaths(paths: readonly string[]): string[] {
  const absolute = [...new Set(paths.map(absolutePath))].filter((path) => path.length <= maxSourcePathChars && path.isWellFormed());
  if (absolute.length === 0) return ['/'];
  return absolute.length <= maxSourcePaths ? absolute : [commonFolder(absolute)];
}

function absolutePath(path: string): string {
  const posix = path.replaceAll('\0', '').replace(/^([A-Za-z]):(?=[/\\]|$)/u, '/$1');
  const slashed = posix === path ? posix : posix.replaceAll('\\', '/');
  return slashed.startsWith('/') ? slashed : `/${slashed}`;
}

function commonFolder(paths: readonly string[]): string {
  const [first = [], ...rest] = paths.map((path) => path.split('/'));
  const length = first.findIndex((part, at) => rest.some((other) => other[at] !== part));
  return first.slice(0, length === -1 ? first.length : length).join('/') || '/';
}
