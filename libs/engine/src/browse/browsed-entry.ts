import { createHash } from 'node:crypto';
import { permissionBitsOf } from '@holdfast/restic-format/file-mode';
import type { NodeType, TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { joinPath } from '../source-node.ts';

/** What is shown of one entry of a snapshot. */
export interface BrowsedEntry {
  /** Of an unsafe entry a form of it that holds no slash and no NUL and is no dot folder. The snapshot's top has the name ''. */
  readonly name: string;
  /** Absolute, in the snapshot. */
  readonly path: string;
  readonly type: NodeType;
  /** Of a file; 0 for everything else. */
  readonly sizeBytes: number;
  /** The low twelve bits of stat(2). */
  readonly mode: number;
  /** Nanoseconds since 1970. */
  readonly modifiedNs: bigint;
  readonly uid: number;
  readonly gid: number;
  readonly user?: string;
  readonly group?: string;
  readonly linkTarget?: string;
  /** Of a folder whose tree is in memory already; nothing is read for it. */
  readonly childCount?: number;
  /** Of a file: 32 hexadecimal digits that are the same for the same content, where a repository cuts files in the same places. */
  readonly contentId?: string;
  /**
   * The name leads out of its folder, is none, or is there twice: no file system gives such a one, so the snapshot was made by somebody else
   * or is damaged. The entry is shown, but no path leads to it, and nothing below it is.
   */
  readonly isUnsafe: boolean;
  /**
   * The type as it is written, up to 64 characters, when this version knows no such one: a program of somebody else has made the snapshot.
   * `type` is irregular then, and the entry is unsafe.
   */
  readonly unknownType?: string;
}

export interface EntryPlace {
  readonly folder: string;
  readonly isUnsafe: boolean;
  readonly unknownType?: string | undefined;
  readonly childCount?: number | undefined;
}

export function browsedEntryOf(node: TreeNode, { folder, isUnsafe, unknownType, childCount }: EntryPlace): BrowsedEntry {
  const { name, type, mode, modifiedNs, uid, gid, user, group, linkTarget, content } = node;
  return {
    name,
    path: joinPath(folder, name),
    type,
    sizeBytes: type === 'file' ? (node.sizeBytes ?? 0) : 0,
    mode: permissionBitsOf(mode),
    modifiedNs,
    uid,
    gid,
    ...(user === undefined ? {} : { user }),
    ...(group === undefined ? {} : { group }),
    ...(linkTarget === undefined ? {} : { linkTarget }),
    ...(childCount === undefined ? {} : { childCount }),
    ...(type === 'file' ? { contentId: contentIdOf(content ?? []) } : {}),
    isUnsafe,
    ...(unknownType === undefined ? {} : { unknownType }),
  };
}

/** The snapshot's own top, for which there is no node. */
export function topEntry(timeNs: bigint, childCount: number): BrowsedEntry {
  return { name: '', path: '/', type: 'dir', sizeBytes: 0, mode: 0o755, modifiedNs: timeNs, uid: 0, gid: 0, childCount, isUnsafe: false };
}

/** Half of a SHA-256: nobody finds two contents with the same. */
const contentIdDigits = 32;

/** Of one blob it is the blob's own hash, cut: most files are of one, and it costs nothing. */
export function contentIdOf(content: readonly ObjectId[]): string {
  const [first] = content;
  if (first !== undefined && content.length === 1) return first.slice(0, contentIdDigits);
  return createHash('sha256').update(content.join('')).digest('hex').slice(0, contentIdDigits);
}
