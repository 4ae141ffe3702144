import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { compareNames } from '@holdfast/restic-format/file-name';
import type { ContinuedFile, Source, SourceEntry, SourceFile, SourceNode } from '@holdfast/sources/source';

/** A folder in memory, for tests: names to entries. */
export type MemoryFolder = Readonly<Record<string, MemoryEntry>>;

export type MemoryEntry =
  | {
      readonly type: 'file';
      readonly bytes: Uint8Array;
      readonly mode?: number;
      readonly modifiedNs?: bigint;
      readonly inode?: bigint;
      readonly linkCount?: bigint;
      readonly continues?: ContinuedFile;
    }
  | { readonly type: 'dir'; readonly entries: MemoryFolder; readonly mode?: number; readonly modifiedNs?: bigint }
  | { readonly type: 'symlink'; readonly linkTarget: string }
  | { readonly type: 'fifo' | 'socket' };

export interface MemorySourceOptions {
  /** Paths that are listed but cannot be opened or listed: gone or denied since. */
  readonly unreadable?: ReadonlyMap<string, 'path_not_found' | 'path_not_readable'>;
  /** What a file has when it is opened, when that is not what was listed. */
  readonly changed?: ReadonlyMap<string, Uint8Array>;
  /** Waited for before each read. */
  readonly beforeRead?: (path: string) => Promise<void>;
}

export interface MemorySource extends Source {
  readonly openedPaths: readonly string[];
}

const defaultTimeNs = 1_700_000_000_123_456_789n;

/** A tree in memory as a source. `paths` are what the snapshot says it holds. */
export function openMemorySource(
  tree: MemoryFolder,
  options: MemorySourceOptions = {},
  paths: readonly string[] = ['/data'],
): MemorySource {
  const openedPaths: string[] = [];
  const assertReadable = (path: string): void => {
    const code = options.unreadable?.get(path);
    if (code !== undefined) throw new HoldfastError(code, `${path}: planned`);
  };
  return {
    paths,
    openedPaths,
    async readDirectory(path) {
      assertReadable(path);
      const folder = entryAt(tree, path);
      if (folder.type !== 'dir') throw new HoldfastError('path_not_found', `${path} is no folder`);
      return Object.entries(folder.entries)
        .toSorted(([a], [b]) => compareNames(a, b))
        .map(([name, entry]): SourceEntry => ({ kind: 'node', node: nodeOf(name, entry, path) }));
    },
    async openFile(path): Promise<SourceFile> {
      assertReadable(path);
      openedPaths.push(path);
      const entry = entryAt(tree, path);
      if (entry.type !== 'file') throw new HoldfastError('path_not_found', `${path} is no file`);
      const bytes = options.changed?.get(path) ?? entry.bytes;
      return {
        async read(into, positionBytes) {
          await options.beforeRead?.(path);
          const part = bytes.subarray(positionBytes, positionBytes + into.length);
          into.set(part);
          return part.length;
        },
        close: async () => {},
      };
    },
    close: async () => {},
  };
}

function entryAt(tree: MemoryFolder, path: string): MemoryEntry {
  let entry: MemoryEntry = { type: 'dir', entries: tree };
  for (const name of path.split('/').filter(Boolean)) {
    const next: MemoryEntry | undefined = entry.type === 'dir' ? entry.entries[name] : undefined;
    if (next === undefined) throw new HoldfastError('path_not_found', `${path} is not there`);
    entry = next;
  }
  return entry;
}

function nodeOf(name: string, entry: MemoryEntry, folder: string): SourceNode {
  const modifiedNs = 'modifiedNs' in entry && entry.modifiedNs !== undefined ? entry.modifiedNs : defaultTimeNs;
  const inode = 'inode' in entry && entry.inode !== undefined ? entry.inode : BigInt(1000 + folder.length * 31 + name.length);
  return {
    name,
    type: entry.type,
    mode: 'mode' in entry && entry.mode !== undefined ? entry.mode : 0o644,
    modifiedNs,
    accessedNs: modifiedNs,
    changedNs: modifiedNs,
    uid: 1000,
    gid: 1000,
    user: 'ann',
    group: 'staff',
    inode,
    deviceId: 7n,
    sizeBytes: entry.type === 'file' ? entry.bytes.length : 0,
    linkCount: 'linkCount' in entry && entry.linkCount !== undefined ? entry.linkCount : 1n,
    ...('continues' in entry && entry.continues !== undefined ? { continues: entry.continues } : {}),
    ...(entry.type === 'symlink' ? { linkTarget: entry.linkTarget } : {}),
  };
}
