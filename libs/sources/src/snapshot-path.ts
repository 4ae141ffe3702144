import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { pathToBytes } from './system-path.ts';

/** NAME_MAX of every file system that matters here. */
const maxNameLengthBytes = 255;

/**
 * Where a path of a snapshot lies below `root`. Names in a snapshot are whatever somebody with the key wrote: `..`, `a/b` or
 * nothing at all, to make a recovery write elsewhere.
 * Errors: path_outside_roots for a path that is not made of plain names, or whose last name is not the node's own.
 */
export function placeBelow(root: string, path: string, nodeName?: string): string {
  const names = path.split('/');
  const isSafe = path.startsWith('/') && names.slice(1).every(isPlainName) && (nodeName === undefined || names.at(-1) === nodeName);
  if (!isSafe) throw outsideError(path);
  // Every name is plain: joining has nothing left to make regular.
  return root === '/' ? path : root + path;
}

/** What is thrown for a path that is not made of plain names. */
export function outsideError(path: string): HoldfastError {
  return new HoldfastError('path_outside_roots', `the snapshot holds a name that leads elsewhere: ${JSON.stringify(path)}`, {
    hint: 'do not trust this snapshot: no file system gives such a name',
    context: { path },
  });
}

/** Whether it is the name of something in a folder, and of nothing else. */
export function isPlainName(name: string): boolean {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) return false;
  // A UTF-16 unit is three bytes at most.
  return name.length * 3 <= maxNameLengthBytes || lengthBytes(name) <= maxNameLengthBytes;
}

const lengthBytes = (name: string): number => (name.isWellFormed() ? Buffer.byteLength(name) : pathToBytes(name).byteLength);
