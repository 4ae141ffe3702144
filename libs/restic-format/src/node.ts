import type { ObjectId } from './object-id.ts';

export type NodeType = 'file' | 'dir' | 'symlink' | 'dev' | 'chardev' | 'fifo' | 'socket' | 'irregular';

/** One entry of a tree. Times are nanoseconds since 1970. */
export interface TreeNode {
  /** A byte of a name or link target that is not UTF-8 stands as U+DC80…U+DCFF (see file-name.ts). */
  readonly name: string;
  readonly type: NodeType;
  /** Go's os.FileMode: see file-mode.ts. */
  readonly mode: number;
  readonly modifiedNs: bigint;
  readonly accessedNs: bigint;
  readonly changedNs: bigint;
  /** Minutes east of UTC of the three times as written (modified, accessed, changed); absent for UTC. */
  readonly zoneMinutes?: readonly [number, number, number];
  readonly uid: number;
  readonly gid: number;
  readonly user?: string;
  readonly group?: string;
  readonly inode?: bigint;
  /** restic stores it only for a file with more than one link. */
  readonly deviceId?: bigint;
  readonly sizeBytes?: number;
  readonly linkCount?: bigint;
  readonly linkTarget?: string;
  readonly extendedAttributes?: ReadonlyMap<string, Uint8Array>;
  readonly genericAttributes?: Readonly<Record<string, unknown>>;
  /** For dev and chardev. */
  readonly device?: bigint;
  /** Ids of data blobs, in order, for a file ([] when it is empty); null for everything else. */
  readonly content: readonly ObjectId[] | null;
  /** Id of a tree blob, for a folder. */
  readonly subtree?: ObjectId;
  readonly error?: string;
}
