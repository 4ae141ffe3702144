import { lstat } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { toSystemPath } from './system-path.ts';
import { realPathOf } from './verified-folder.ts';

/**
 * Which folders a request may name. Two halves: a lexical one for the API, which does not see the worker's disk, and one
 * that follows every symlink, for the worker, just before it uses the path. No roots: nothing is allowed.
 */

/**
 * Reads a setting such as `/srv:/home/a`. An empty text, and empty parts, give no root.
 * Errors: configuration_invalid for a relative part or one with a NUL.
 */
export function parseRoots(text: string): string[] {
  const roots = text.split(':').filter((part) => part !== '');
  for (const root of roots) {
    if (!isUsable(root))
      throw new HoldfastError('configuration_invalid', `allowed roots must be absolute folders: ${JSON.stringify(root)}`);
  }
  return [...new Set(roots.map(normalise))];
}

/**
 * Whether `path`, after `.`, `..` and doubled slashes are taken out of it, is one of the roots or below one. Looks at the
 * text only. A relative path or one with a NUL is outside.
 */
export function isInsideRoots(path: string, roots: readonly string[]): boolean {
  if (!isUsable(path)) return false;
  const normal = normalise(path);
  return roots.some((root) => isUsable(root) && isAtOrBelow(normal, normalise(root)));
}

/**
 * The real path, with every symlink followed, of a path that may not exist yet: its deepest existing ancestor's real path
 * and the rest. Both the path as it is written and the real one must be inside the roots (a root that is a symlink counts
 * as what it leads to, because the operator chose it).
 * Errors: path_outside_roots; path_not_readable when something on the way cannot be looked at or is a symlink to nothing.
 */
export async function resolveInsideRoots(path: string, roots: readonly string[]): Promise<string> {
  const outside = (): HoldfastError =>
    new HoldfastError('path_outside_roots', `path is not inside an allowed root: ${JSON.stringify(path)}`, { context: { path } });
  if (!isInsideRoots(path, roots)) throw outside();
  const real = await realpathOfExisting(normalise(path));
  for (const root of roots) {
    if (isAtOrBelow(real, await realpathOfExisting(normalise(root)))) return real;
  }
  throw outside();
}

async function realpathOfExisting(path: string): Promise<string> {
  try {
    return await realPathOf(path);
  } catch (error) {
    const code = errnoCode(error);
    const isMissing = code === 'ENOENT' && path !== '/' && !(await isThere(path));
    if (isMissing) return posix.join(await realpathOfExisting(posix.dirname(path)), posix.basename(path));
    // A symlink to nothing is there and has no real path: whatever is put at its end later would be let in.
    throw new HoldfastError('path_not_readable', `path cannot be looked at: ${JSON.stringify(path)} (${code ?? 'unknown'})`, {
      context: { path },
      cause: error,
    });
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(toSystemPath(path));
    return true;
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return false;
    throw error;
  }
}

function isUsable(path: string): boolean {
  return path.startsWith('/') && !path.includes('\0');
}

function normalise(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

function isAtOrBelow(path: string, root: string): boolean {
  return root === '/' || path === root || path.startsWith(`${root}/`);
}
