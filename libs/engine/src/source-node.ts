import { encodeFileMode, permissionBitsOf } from '@holdfast/restic-format/file-mode';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { SourceNode } from '@holdfast/sources/source';
import type { TargetNode } from '@holdfast/sources/target';

/** What a tree says of a file beyond what its source says, or of a folder. */
export interface NodeContent {
  readonly content?: readonly ObjectId[];
  readonly sizeBytes?: number;
  readonly subtree?: ObjectId;
}

/**
 * The tree's node for a source's. Field for field what restic 0.14 to 0.18 writes, so that both make the same tree ids: the access
 * time is the modification time (or every backup would differ), links and size are there only where restic fills them in.
 */
export function encodeSourceNode(node: SourceNode, { content, sizeBytes, subtree }: NodeContent = {}): TreeNode {
  const { name, type, mode, modifiedNs, changedNs, uid, gid, user, group, inode, deviceId, linkTarget, extendedAttributes } = node;
  const hasLinks = type === 'file' || type === 'symlink' || type === 'dev' || type === 'chardev';
  return {
    name,
    type,
    mode: encodeFileMode(type, mode),
    modifiedNs,
    accessedNs: modifiedNs,
    changedNs,
    uid,
    gid,
    inode,
    deviceId,
    ...(user === undefined ? {} : { user }),
    ...(group === undefined ? {} : { group }),
    ...(type === 'file' ? { sizeBytes: sizeBytes ?? node.sizeBytes } : {}),
    ...(hasLinks ? { linkCount: node.linkCount } : {}),
    ...(linkTarget === undefined ? {} : { linkTarget }),
    ...(extendedAttributes === undefined || extendedAttributes.size === 0 ? {} : { extendedAttributes }),
    ...(node.device === undefined ? {} : { device: node.device }),
    content: type === 'file' ? (content ?? []) : null,
    ...(subtree === undefined ? {} : { subtree }),
  };
}

/** What a target is to set for a tree's node. `irregular` nodes have no counterpart: undefined. */
export function decodeTargetNode(node: TreeNode): TargetNode | undefined {
  const { name, type, mode, modifiedNs, accessedNs, uid, gid, sizeBytes, linkTarget, device, extendedAttributes } = node;
  if (type === 'irregular') return undefined;
  return {
    name,
    type,
    mode: permissionBitsOf(mode),
    modifiedNs,
    accessedNs,
    uid,
    gid,
    sizeBytes: sizeBytes ?? 0,
    ...(linkTarget === undefined ? {} : { linkTarget }),
    ...(device === undefined ? {} : { device }),
    ...(extendedAttributes === undefined ? {} : { extendedAttributes }),
  };
}

/** The path of a name in a folder; the top is `/`. */
export function joinPath(folder: string, name: string): string {
  return folder === '/' ? `/${name}` : `${folder}/${name}`;
}
