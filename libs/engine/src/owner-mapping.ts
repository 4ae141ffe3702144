import type { TreeNode } from '@holdfast/restic-format/node';
import type { TargetNode } from '@holdfast/sources/target';
import { decodeTargetNode } from './source-node.ts';

/**
 * Whose restored entries become: `keep` the numbers that the snapshot has, `none` the process's own, or others for some. Keys are names
 * as the snapshot has them, or numbers in decimal, and a name goes before its number; who is not among them keeps the number.
 */
export type OwnerMapping = 'keep' | 'none' | { readonly users: ReadonlyMap<string, number>; readonly groups: ReadonlyMap<string, number> };

export type NodeDecoder = (node: TreeNode) => TargetNode | undefined;

const setUserId = 0o4000;
const setGroupId = 0o2000;

/**
 * As decodeTargetNode, with the owners that a mapping gives. A file whose user or group becomes another loses its set-user-id or
 * set-group-id bit: it was a grant of the old one.
 */
export function nodeDecoderOf(owners: OwnerMapping): NodeDecoder {
  if (typeof owners === 'string') return decodeTargetNode;
  const { users, groups } = owners;
  return (node) => {
    const target = decodeTargetNode(node);
    if (target === undefined) return undefined;
    const uid = mapped(users, node.user, target.uid);
    const gid = mapped(groups, node.group, target.gid);
    if (uid === target.uid && gid === target.gid) return target;
    const isFolder = target.type === 'dir';
    const lost = isFolder ? 0 : (uid === target.uid ? 0 : setUserId) | (gid === target.gid ? 0 : setGroupId);
    return { ...target, uid, gid, mode: target.mode & ~lost };
  };
}

function mapped(owners: ReadonlyMap<string, number>, name: string | undefined, id: number): number {
  return (name === undefined || name === '' ? undefined : owners.get(name)) ?? owners.get(String(id)) ?? id;
}
