import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync, type BigIntStats } from 'node:fs';
import { join } from 'node:path';

/** Enough to see what kind of difference it is. */
const maxDifferences = 20;
const pieceBytes = 1024 * 1024;
/** S_IFMT of stat's mode. */
const typeBits = 0o170000n;

/** How two trees differ in names, types, modes, owners, modification times, link targets and bytes; empty when they are the same. */
export function compareTrees(expected: string, actual: string): string[] {
  const differences: string[] = [];
  const buffers = [Buffer.allocUnsafe(pieceBytes), Buffer.allocUnsafe(pieceBytes)] as const;
  const visit = (relative: string): void => {
    if (differences.length >= maxDifferences) return;
    const [expectedPath, actualPath] = [join(expected, relative), join(actual, relative)];
    const [wanted, found] = [lstatSync(expectedPath, { bigint: true }), lstatSync(actualPath, { bigint: true, throwIfNoEntry: false })];
    if (found === undefined) return void differences.push(`${actualPath} is missing`);
    const difference = statDifference(wanted, found);
    if (difference !== null) differences.push(`${actualPath} ${difference}`);
    // Of another type: nothing more can be compared.
    if ((wanted.mode & typeBits) !== (found.mode & typeBits)) return;
    if (wanted.isSymbolicLink() && readlinkSync(expectedPath) !== readlinkSync(actualPath))
      differences.push(`${actualPath} leads elsewhere`);
    if (wanted.isFile() && !hasSameBytes(expectedPath, actualPath, buffers)) differences.push(`${actualPath} has other bytes`);
    if (!wanted.isDirectory()) return;
    const names = new Set(readdirSync(expectedPath));
    for (const name of readdirSync(actualPath)) if (!names.has(name)) differences.push(`${join(actualPath, name)} is too much`);
    for (const name of names) visit(join(relative, name));
  };
  visit('');
  return differences;
}

function statDifference(wanted: BigIntStats, found: BigIntStats): string | null {
  const fields = ['mode', 'uid', 'gid', 'mtimeNs', ...(wanted.isDirectory() ? [] : (['size'] as const))] as const;
  const field = fields.find((name) => wanted[name] !== found[name]);
  return field === undefined ? null : `has ${field} ${found[field]}, not ${wanted[field]}`;
}

function hasSameBytes(expectedPath: string, actualPath: string, [a, b]: readonly [Buffer, Buffer]): boolean {
  const descriptors = [openSync(expectedPath, 'r'), openSync(actualPath, 'r')] as const;
  try {
    for (;;) {
      const lengths = [readSync(descriptors[0], a), readSync(descriptors[1], b)] as const;
      if (lengths[0] !== lengths[1] || !a.subarray(0, lengths[0]).equals(b.subarray(0, lengths[1]))) return false;
      if (lengths[0] === 0) return true;
    }
  } finally {
    for (const descriptor of descriptors) closeSync(descriptor);
  }
}
