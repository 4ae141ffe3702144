import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { isVanished } from './file-system-error.ts';
import { compileExcludes, compileIncludes } from './exclude-patterns.ts';
import type { SourceNode } from './source.ts';
import type { SystemPath } from './system-path.ts';

/** Which entries of a file system source are taken; what the rules mean, source-options/file-system.ts says. */
export interface SelectionOptions {
  readonly excludes?: readonly string[] | undefined;
  readonly includes?: readonly string[] | undefined;
  readonly excludeIfPresent?: readonly FolderTag[] | undefined;
  readonly excludeCaches?: boolean | undefined;
  readonly oneFileSystem?: boolean | undefined;
  readonly excludeLargerThanBytes?: number | undefined;
}

/** A file whose presence leaves out what else is in its folder; with `header`, only when it begins so. */
export interface FolderTag {
  readonly name: string;
  readonly header?: string | undefined;
}

export interface SourceSelection {
  readonly staysOnDevice: boolean;
  /** By the path alone: known before anything is looked at. */
  excludes(path: string): boolean;
  /** Also by what is there. `device` is that of the source's path above it. */
  takes(path: string, node: Pick<SourceNode, 'type' | 'sizeBytes' | 'deviceId'>, device: bigint): boolean;
  /**
   * The names of a folder, all of them unless it is tagged: then the tags alone. `at` gives a path for calls on a name in it.
   * Errors: those of open(2) and read(2).
   */
  namesToList(at: (name: string) => SystemPath, names: readonly string[]): Promise<readonly string[]>;
}

/** Of https://bford.info/cachedir/: a folder that any program may empty. */
const cacheTag: FolderTag = { name: 'CACHEDIR.TAG', header: 'Signature: 8a477f597d28d172789f06886806bc55' };

/** Errors: request_invalid for a pattern that cannot be read. */
export function compileSelection(options: SelectionOptions): SourceSelection {
  const excludes = compileExcludes(options.excludes ?? []);
  const includes = options.includes === undefined || options.includes.length === 0 ? undefined : compileIncludes(options.includes);
  const tags = [...(options.excludeIfPresent ?? []), ...(options.excludeCaches === true ? [cacheTag] : [])];
  const { oneFileSystem = false, excludeLargerThanBytes = Infinity } = options;
  return {
    staysOnDevice: oneFileSystem,
    excludes: (path) => excludes.excludes(path),
    takes: (path, { type, sizeBytes, deviceId }, device) => {
      if (type === 'file' && sizeBytes > excludeLargerThanBytes) return false;
      // A folder on which another file system is mounted stays, empty: a recovery needs the place to mount it on.
      if (oneFileSystem && type !== 'dir' && deviceId !== device) return false;
      return includes === undefined || includes.includes(path) || (type === 'dir' && includes.mayIncludeBelow(path));
    },
    namesToList: async (at, names) => {
      const present: string[] = [];
      for (const tag of tags) if (names.includes(tag.name) && (await hasHeader(at(tag.name), tag))) present.push(tag.name);
      return present.length === 0 ? names : names.filter((name) => present.includes(name));
    },
  };
}

async function hasHeader(path: SystemPath, { header }: FolderTag): Promise<boolean> {
  if (header === undefined) return true;
  const expected = Buffer.from(header);
  try {
    // Without O_NONBLOCK a fifo of that name would hold a thread for ever.
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if (!(await file.stat()).isFile()) return false;
    const { bytesRead, buffer } = await file.read(Buffer.alloc(expected.length), 0, expected.length, 0);
    return bytesRead === expected.length && buffer.equals(expected);
  } catch (error) {
    if (isVanished(error)) return false;
    throw error;
  }
}
