import type { TargetNode } from '@holdfast/sources/target';
import type { ExistingEntry } from '@holdfast/sources/target-writer';

/**
 * What becomes of a file, link or device that is in the place of one that is restored:
 * - `always`: it is replaced
 * - `if-changed`: it stays when it is the same by type, size and modification time, or link target. A file gets its time once it is
 *   whole, so that a recovery that was interrupted goes on where it stopped.
 * - `if-newer`: it stays unless the snapshot's is newer
 * - `never`: it stays
 * Folders are never replaced; what is in them is restored by the same policy.
 */
export type OverwritePolicy = 'always' | 'if-changed' | 'if-newer' | 'never';

/** Whether what is there stays. */
export function staysInPlace(policy: OverwritePolicy, existing: ExistingEntry, node: TargetNode): boolean {
  // Something in the way of another kind, such as a folder, is for the target to refuse.
  if (existing.type === 'dir') return false;
  if (policy === 'if-newer') return existing.modifiedNs >= node.modifiedNs;
  if (policy === 'if-changed') return isSame(existing, node);
  return policy === 'never';
}

function isSame(existing: ExistingEntry, node: TargetNode): boolean {
  if (node.type === 'symlink') return existing.type === 'symlink' && existing.linkTarget === node.linkTarget;
  if (node.type !== 'file' || existing.type !== 'file') return false;
  return existing.sizeBytes === node.sizeBytes && isSameTime(existing.modifiedNs, node.modifiedNs);
}

/** What the system calls that set times may lose. */
const timePrecisionNs = 1000n;

function isSameTime(a: bigint, b: bigint): boolean {
  const difference = a - b;
  return difference < timePrecisionNs && difference > -timePrecisionNs;
}
