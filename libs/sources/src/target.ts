import type { SourceNode } from './source.ts';

/**
 * What a recovery writes. The engine calls, for every folder: makeDirectory, then everything in it, then finishDirectory;
 * for a file: openFile, any number of writes in any order, close. Paths are those of the snapshot (`/srv/data/a`); the target
 * puts them below its own folder and never follows a symlink out of it, whatever names a snapshot brings.
 */
export interface Target {
  /** Readies the place. Throws target_not_empty, target_not_writable, path_outside_roots. Nothing is changed when it throws. */
  open(): Promise<void>;

  makeDirectory(path: string, node: TargetNode): Promise<void>;
  /** Sets the folder's times, mode and owner, once nothing more is written into it. */
  finishDirectory(path: string, node: TargetNode): Promise<void>;

  openFile(path: string, node: TargetNode): Promise<TargetFile>;
  /** Symlinks, fifos, sockets and devices. */
  makeNode(path: string, node: TargetNode): Promise<void>;
  /** A further name for a file that is there already; both paths are the snapshot's. */
  makeHardLink(path: string, existingPath: string): Promise<void>;

  /** Where it would write, with nothing readied or changed. Throws as `open` does. Targets without it cannot be tried. */
  preview?(): Promise<ThreadTargetOptions>;

  /** Present, once it is open, where any thread can write with openThreadTarget; else only the calls above do. */
  readonly threadOptions?: ThreadTargetOptions | undefined;

  /** What could not be set, such as an owner when not root: collected, not thrown. */
  readonly warnings: readonly TargetWarning[];

  /** Ends the target. A file that is still open was not finished, and is removed. Calling it twice is no error. */
  close(): Promise<void>;
}

/** Plain data, good for a structured clone. */
export interface ThreadTargetOptions {
  readonly kind: 'file_system';
  /** Real and absolute. */
  readonly root: string;
  readonly overwrite: boolean;
  /** One Int32 that all writers share: not 0 once somebody has said that owners are not set. */
  readonly ownersWarned: SharedArrayBuffer;
  /** Whether blocks of zeros become holes. */
  readonly isSparse?: boolean;
  /** Whether what is written goes to the disk at once: for files that somebody syncs soon, who then has little to wait for. */
  readonly startsWriteback?: boolean;
  /**
   * Whether every file is made beside its place and moved there when it is whole, not only one that replaces another: where a later
   * attempt is to keep whatever it finds.
   */
  readonly writesBeside?: boolean;
  /** False: what is made stays the process's own, without the set-user-id and set-group-id bits of files. Default true. */
  readonly setsOwners?: boolean;
}

/** The part of a node that a target can set. */
export type TargetNode = Pick<
  SourceNode,
  'name' | 'type' | 'mode' | 'modifiedNs' | 'accessedNs' | 'uid' | 'gid' | 'sizeBytes' | 'linkTarget' | 'device' | 'extendedAttributes'
>;

/** Times as the system has them: seconds since 1970, and the nanoseconds that are left, from 0 to 999,999,999. */
export interface FileTimes {
  readonly accessedSeconds: number;
  readonly accessedNs: number;
  readonly modifiedSeconds: number;
  readonly modifiedNs: number;
}

/** A regular file that is written in one go. */
export interface NewFile extends Pick<TargetNode, 'name' | 'mode' | 'uid' | 'gid' | 'sizeBytes'>, FileTimes {
  readonly extendedAttributes?: ReadonlyMap<string, Uint8Array> | undefined;
}

export interface TargetWarning {
  readonly path: string;
  readonly reason: string;
}

export interface TargetFile {
  /** Throws storage-independent errors only: disk_full, target_not_writable. */
  write(bytes: Uint8Array, positionBytes: number): Promise<void>;
  /** Lengthens the file to its size when less was written, then sets owner, mode and times. */
  close(): Promise<void>;
}
