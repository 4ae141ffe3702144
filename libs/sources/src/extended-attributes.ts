import { errnoCode } from '@holdfast/errors/errno-code';
import { isVanished } from './file-system-error.ts';
import { loadSystemCalls, type AttributeNames } from './system-calls.ts';
import type { SystemPath } from './system-path.ts';

/** The extended attributes of something, by name; `problem` says, for people, why some of them are not there. */
export interface FoundAttributes {
  readonly attributes: ReadonlyMap<string, Uint8Array>;
  readonly problem?: string;
}

/** What most files have, and all where attributes cannot be asked for. */
export const noAttributesFound: FoundAttributes = { attributes: new Map() };

/** Of what is at the path, a symlink not followed. Errors: those that say it has vanished. */
export function readAttributes(path: SystemPath): FoundAttributes {
  const calls = loadSystemCalls();
  if (calls === undefined) return noAttributesFound;
  return collect(
    () => calls.listAttributes(path),
    (name) => calls.getAttribute(path, name),
  );
}

/** Of an open file: a quarter of the time, since no path is walked. noAttributesFound itself when there are none. */
export function readOpenAttributes(descriptor: number): FoundAttributes {
  const calls = loadSystemCalls();
  if (calls === undefined) return noAttributesFound;
  return collect(
    () => calls.listOpenAttributes(descriptor),
    (name) => calls.getOpenAttribute(descriptor, name),
  );
}

function collect(list: () => AttributeNames, get: (name: string) => Uint8Array): FoundAttributes {
  const attributes = new Map<string, Uint8Array>();
  try {
    const { names, unnamableCount } = list();
    if (names.length === 0 && unnamableCount === 0) return noAttributesFound;
    for (const name of names) attributes.set(name, get(name));
    if (unnamableCount === 0) return { attributes };
    return { attributes, problem: `stored without ${unnamableCount} extended attributes whose names are not UTF-8` };
  } catch (error) {
    const errno = errnoCode(error);
    if (errno === undefined) throw error;
    // No attributes on this file system; or one that went between the two calls, and then the rest is of no use either.
    if (errno === 'EOPNOTSUPP' || errno === 'ENOTSUP') return attributes.size === 0 ? noAttributesFound : { attributes };
    if (isVanished(error)) throw error;
    return { attributes, problem: `stored without all of its extended attributes (${errno})` };
  }
}
