import type { FolderComparison } from './folder-comparison.ts';
import type { FolderRecord } from './folder-record.ts';
import type { FoundAttributes } from './extended-attributes.ts';

/**
 * What a backup reads: a tree that begins at `/` and holds only what the backup is to hold. A file system source shows the
 * folders above its paths with nothing else in them, so that the snapshot has the same shape as one that restic would make.
 * A source that is no file system (a database) shows files that it makes up.
 *
 * Paths are absolute, with `/` between names, no trailing slash; the top is `/`.
 */
export interface Source {
  /** What the snapshot says it holds: absolute paths, sorted. */
  readonly paths: readonly string[];

  /** Present where any thread can open the files at once, with openThreadFolder; else only `openFile` does. */
  readonly threadOptions?: ThreadSourceOptions;

  /**
   * Beside threadOptions, where only some of the files are on a disk: whether those of this folder are not, so that only `openFile` opens
   * them. It may let a reader wait, and is asked for up to a thousand files at once.
   */
  streams?(folder: string): boolean;

  /** Hears of each folder when it and all below it has been read and stored, or was left out. */
  onFolderStored?(path: string): void;

  /** Files that can be read at once with a gain, where that is the source's to say: a connection each. */
  readonly concurrentFiles?: number;

  /** Nearly all that it shows is records of tables, as text or as pages: they are compressed in another way than files. */
  readonly holdsRecords?: boolean;

  /** Present where what was recorded of folders can be compared with what they are: see readDirectory's `record`. */
  readonly records?: SourceRecords;

  /**
   * Present where what the first read waits for takes a while (connections, a moment that is held): begins it, since the source is about to
   * be read. What goes wrong is thrown by who reads. The signal ends what was begun, and it may begin again.
   */
  prepare?(signal: AbortSignal): void;

  /**
   * The entries of one folder, sorted by the bytes of their names. What cannot be read is in the list with its reason,
   * so that nothing is left out in silence. Throws path_not_found or path_not_readable when the folder itself cannot be listed.
   */
  readDirectory(path: string, options?: ReadDirectoryOptions): Promise<SourceEntry[]>;

  /**
   * Opens a regular file; a source that makes its files up may allow each to be opened once and read in order, and then says at least
   * 1 MiB for its size. Throws path_not_found when it has vanished, path_not_readable when it is denied.
   */
  openFile(path: string, options?: OpenFileOptions): Promise<SourceFile>;

  /** A quick count of the regular files and their bytes, for progress only: the tree may change before it is read. */
  estimate?(options?: { signal?: AbortSignal }): Promise<{ readonly files: number; readonly bytes: number }>;

  /** Ends what the source holds (connections, exported database snapshots). Calling it twice is no error. */
  close(): Promise<void>;
}

export interface OpenFileOptions {
  /** A secret of the repository's, by which a source chooses the ends of records: see SourceFile.chosenEnds. */
  readonly recordKey?: bigint;
}

export interface ReadDirectoryOptions {
  readonly signal?: AbortSignal;
  /**
   * The extended attributes that an entry had in an earlier backup, if inode and change time are still the same: then so are they,
   * and nobody has to ask for them. Null when they are not.
   */
  readonly attributesBefore?: (name: string, inode: bigint, changedNs: bigint) => ReadonlyMap<string, Uint8Array> | null;
  /** Only these, of those that are there: for who knows the others. */
  readonly names?: ReadonlySet<string>;
  /**
   * Is given what was seen of the folder, where that can be compared later: it begins with the names that are there, unless only some
   * are asked for. Without `records` of the source nothing is.
   */
  readonly record?: FolderRecord;
  /**
   * Leaves those of regular files to whoever opens the files, where that is cheaper: their nodes then say `attributesUnread`.
   * See SourceFile.readAttributes and readOpenAttributes.
   */
  readonly leavesFileAttributes?: boolean;
}

/** How folders are compared with their records without being listed. */
export interface SourceRecords {
  /** What decides, beside the folders themselves, what is shown of them. Records of other rules are of no use. */
  readonly rules: string;
  /** Whether a file in a folder decides on the others in it: then a folder in which anything changed has to be listed anew. */
  readonly hasTags: boolean;
  userName(uid: number): string | undefined;
  groupName(gid: number): string | undefined;
  /** Undefined where it is not to be had. */
  openComparison(): FolderComparison | undefined;
}

/** Plain data, good for a structured clone. */
export interface ThreadSourceOptions {
  readonly kind: 'file_system';
}

export type SourceEntry =
  | { readonly kind: 'node'; readonly node: SourceNode }
  | { readonly kind: 'skipped'; readonly skipped: SkippedEntry };

export type NodeType = 'file' | 'dir' | 'symlink' | 'dev' | 'chardev' | 'fifo' | 'socket';

/** Times are nanoseconds since 1970 (bigint); `mode` holds the twelve permission bits of stat(2), never the type bits. */
export interface SourceNode {
  readonly name: string;
  readonly type: NodeType;
  readonly mode: number;
  readonly modifiedNs: bigint;
  readonly accessedNs: bigint;
  readonly changedNs: bigint;
  readonly uid: number;
  readonly gid: number;
  readonly user?: string;
  readonly group?: string;
  readonly inode: bigint;
  readonly deviceId: bigint;
  /** Zero for anything that is no regular file. */
  readonly sizeBytes: number;
  readonly linkCount: bigint;
  /** For a symlink. */
  readonly linkTarget?: string;
  /** For dev and chardev: the device that the node stands for. */
  readonly device?: bigint;
  /** Name to value. */
  readonly extendedAttributes?: ReadonlyMap<string, Uint8Array>;
  /** Nobody has looked yet what extended attributes there are: see ReadDirectoryOptions. */
  readonly attributesUnread?: true;
  /** Of a regular file that begins with what an earlier backup has of it: most of that is not read again. */
  readonly continues?: ContinuedFile;
}

/**
 * Which file of the last snapshot it was, perhaps by another path, and how much that snapshot has of it. It is a claim: what is kept is held
 * against some of the file's bytes, and where anything does not fit all of the file is read.
 */
export interface ContinuedFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/** Something that a backup could not store. `path` is absolute, `reason` is for people. */
export interface SkippedEntry {
  readonly path: string;
  readonly reason: string;
}

export interface SourceFile {
  /** Fills `into` from `positionBytes`; returns the bytes read, 0 at the end of the file. */
  read(into: Uint8Array, positionBytes: number): Promise<number>;
  /**
   * Present where the file is records of which the source knows the ends (rows of a table): positions in the file, ascending, of some of those
   * ends in what has been read. Which ones, a keyed hash of the record decides, so that records that are the same in two versions of the file
   * are chosen alike wherever they lie: one in 1 MiB on average, by the same measure in all files. Who cuts there takes out what it has passed.
   */
  readonly chosenEnds?: number[];
  /** Present where a listing may leave them unread. */
  readAttributes?(): FoundAttributes;
  close(): Promise<void>;
}
