import type { Cipher } from './cipher.ts';
import type { ObjectId } from './object-id.ts';

/** Times are nanoseconds since 1970; zoneMinutes is minutes east of UTC, absent for UTC. */
export interface Snapshot {
  readonly timeNs: bigint;
  readonly zoneMinutes?: number;
  readonly parent?: ObjectId;
  readonly tree: ObjectId;
  readonly paths: readonly string[];
  readonly hostname?: string;
  readonly username?: string;
  readonly uid?: number;
  readonly gid?: number;
  readonly excludes?: readonly string[];
  readonly tags?: readonly string[];
  readonly original?: ObjectId;
  readonly programVersion?: string;
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
  readonly dataAdded: number;
  readonly dataAddedPacked: number;
  readonly totalFilesProcessed: number;
  readonly totalBytesProcessed: number;
}

export declare function encodeSnapshotFile(snapshot: Snapshot, cipher: Cipher): Uint8Array;
export declare function decodeSnapshotFile(bytes: Uint8Array, cipher: Cipher): Snapshot;
