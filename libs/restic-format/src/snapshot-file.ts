import type { Cipher } from './cipher.ts';
import { encodeGoJson } from './go-json.ts';
import { JsonFields } from './json-fields.ts';
import type { ObjectId } from './object-id.ts';
import { encodeTimestamp } from './timestamp.ts';
import { decodeUnpackedFile, encodeUnpackedFile } from './unpacked-file.ts';

/** A snapshot: the root tree of one backup and what is said about it. An unpacked file in `snapshots/`. */
export interface Snapshot {
  /** When the backup began: nanoseconds since 1970. */
  readonly timeNs: bigint;
  /** Minutes east of UTC in which the time is written; absent for UTC. */
  readonly zoneMinutes?: number;
  /** The snapshot whose unchanged files were not read again. */
  readonly parent?: ObjectId;
  readonly tree: ObjectId;
  readonly paths: readonly string[];
  readonly hostname?: string;
  readonly username?: string;
  readonly uid?: number;
  readonly gid?: number;
  readonly excludes?: readonly string[];
  readonly tags?: readonly string[];
  /** The first snapshot of which this is a copy with other tags or the like. */
  readonly original?: ObjectId;
  readonly programVersion?: string;
  /** Written by restic since 0.17. */
  readonly summary?: SnapshotSummary;
}

export interface SnapshotSummary {
  readonly backupStartNs: bigint;
  readonly backupEndNs: bigint;
  readonly filesNew: number;
  readonly filesChanged: number;
  readonly filesUnmodified: number;
  readonly dirsNew: number;
  readonly dirsChanged: number;
  readonly dirsUnmodified: number;
  readonly dataBlobs: number;
  readonly treeBlobs: number;
  /** Bytes of the new blobs: plain, and as they are in the packs. */
  readonly dataAdded: number;
  readonly dataAddedPacked: number;
  readonly totalFilesProcessed: number;
  readonly totalBytesProcessed: number;
}

/** Bounds a forged file; real ones hold a page, plus their paths and excludes. */
const limitBytes = 16 * 1024 * 1024;

/** The stored bytes; their hash is the snapshot's id. Empty lists and texts are left out. */
export function encodeSnapshotFile(snapshot: Snapshot, cipher: Cipher): Uint8Array {
  const json = encodeGoJson({
    time: encodeTimestamp(snapshot.timeNs, snapshot.zoneMinutes),
    parent: snapshot.parent,
    tree: snapshot.tree,
    paths: snapshot.paths,
    hostname: snapshot.hostname || undefined,
    username: snapshot.username || undefined,
    uid: snapshot.uid || undefined,
    gid: snapshot.gid || undefined,
    excludes: snapshot.excludes?.length ? snapshot.excludes : undefined,
    tags: snapshot.tags?.length ? snapshot.tags : undefined,
    original: snapshot.original,
    program_version: snapshot.programVersion || undefined,
    summary: snapshot.summary && encodeSummary(snapshot.summary, snapshot.zoneMinutes),
  });
  return encodeUnpackedFile(json, cipher, { compress: true });
}

function encodeSummary(summary: SnapshotSummary, zoneMinutes: number | undefined): Record<string, unknown> {
  return {
    backup_start: encodeTimestamp(summary.backupStartNs, zoneMinutes),
    backup_end: encodeTimestamp(summary.backupEndNs, zoneMinutes),
    files_new: summary.filesNew,
    files_changed: summary.filesChanged,
    files_unmodified: summary.filesUnmodified,
    dirs_new: summary.dirsNew,
    dirs_changed: summary.dirsChanged,
    dirs_unmodified: summary.dirsUnmodified,
    data_blobs: summary.dataBlobs,
    tree_blobs: summary.treeBlobs,
    data_added: summary.dataAdded,
    data_added_packed: summary.dataAddedPacked,
    total_files_processed: summary.totalFilesProcessed,
    total_bytes_processed: summary.totalBytesProcessed,
  };
}

/** The inverse. Errors: repository_damaged; repository_unsupported for an encoding that this version does not know. */
export function decodeSnapshotFile(bytes: Uint8Array, cipher: Cipher): Snapshot {
  const fields = new JsonFields(decodeUnpackedFile(bytes, cipher, 'a snapshot', limitBytes), 'a snapshot');
  const time = fields.timestamp('time');
  const parent = fields.optionalId('parent');
  const original = fields.optionalId('original');
  return {
    timeNs: time.ns,
    ...(time.zoneMinutes === 0 ? {} : { zoneMinutes: time.zoneMinutes }),
    ...(parent === undefined ? {} : { parent }),
    tree: fields.id('tree'),
    paths: fields.strings('paths'),
    ...(fields.has('hostname') ? { hostname: fields.string('hostname') } : {}),
    ...(fields.has('username') ? { username: fields.string('username') } : {}),
    ...(fields.has('uid') ? { uid: fields.uint('uid') } : {}),
    ...(fields.has('gid') ? { gid: fields.uint('gid') } : {}),
    ...(fields.has('excludes') ? { excludes: fields.strings('excludes') } : {}),
    ...(fields.has('tags') ? { tags: fields.strings('tags') } : {}),
    ...(original === undefined ? {} : { original }),
    ...(fields.has('program_version') ? { programVersion: fields.string('program_version') } : {}),
    ...(fields.has('summary') ? { summary: decodeSummary(fields.object('summary')) } : {}),
  };
}

function decodeSummary(value: unknown): SnapshotSummary {
  const fields = new JsonFields(value, 'the summary of a snapshot');
  return {
    backupStartNs: fields.timestamp('backup_start').ns,
    backupEndNs: fields.timestamp('backup_end').ns,
    filesNew: fields.uint('files_new'),
    filesChanged: fields.uint('files_changed'),
    filesUnmodified: fields.uint('files_unmodified'),
    dirsNew: fields.uint('dirs_new'),
    dirsChanged: fields.uint('dirs_changed'),
    dirsUnmodified: fields.uint('dirs_unmodified'),
    dataBlobs: fields.uint('data_blobs'),
    treeBlobs: fields.uint('tree_blobs'),
    dataAdded: fields.uint('data_added'),
    dataAddedPacked: fields.uint('data_added_packed'),
    totalFilesProcessed: fields.uint('total_files_processed'),
    totalBytesProcessed: fields.uint('total_bytes_processed'),
  };
}
