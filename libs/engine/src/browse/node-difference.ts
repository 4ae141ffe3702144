import type { TreeNode } from '@holdfast/restic-format/node';

/**
 * What became of an entry from one snapshot to the other. `modified`: another content, of a link another target, of a device another device;
 * `metadata`: mode, owner, modification time or extended attributes alone.
 */
export type Change = 'added' | 'removed' | 'modified' | 'metadata' | 'type_changed';

/** Of two nodes of the same path; null when nothing that is shown differs. What is below a folder is no part of it. */
export function changeOf(before: TreeNode, after: TreeNode): Change | null {
  if (before.type !== after.type) return 'type_changed';
  if (!hasSameContent(before, after)) return 'modified';
  return hasSameMetadata(before, after) ? null : 'metadata';
}

function hasSameContent(before: TreeNode, after: TreeNode): boolean {
  if ((before.linkTarget ?? '') !== (after.linkTarget ?? '') || (before.device ?? 0n) !== (after.device ?? 0n)) return false;
  const [a, b] = [before.content ?? [], after.content ?? []];
  return a.length === b.length && a.every((id, nth) => id === b[nth]);
}

function hasSameMetadata(a: TreeNode, b: TreeNode): boolean {
  const isSame = a.mode === b.mode && a.modifiedNs === b.modifiedNs && a.uid === b.uid && a.gid === b.gid;
  return isSame && a.user === b.user && a.group === b.group && attributesOf(a) === attributesOf(b);
}

function attributesOf({ extendedAttributes }: TreeNode): string {
  if (extendedAttributes === undefined) return '';
  return [...extendedAttributes]
    .map(([name, value]) => `${name}=${Buffer.from(value).toString('hex')}`)
    .toSorted()
    .join('\n');
}
