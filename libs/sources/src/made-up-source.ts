import { posix } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Source, SourceEntry, SourceFile, SourceNode } from './source.ts';
import { StreamFile, type FileContent } from './postgresql/logical/stream-file.ts';
import { pathToBytes } from './system-path.ts';

/** A file that is made while it is read: once and in order. */
export interface MadeUpFile {
  /** `/databases/shop/tables/orders.sql` */
  readonly path: string;
  /** A guess, for progress. */
  readonly estimatedBytes?: number;
  /** Called once. */
  open(): FileContent;
}

export interface MadeUpFiles {
  /** Of which a listing says that all of it was changed then: milliseconds since 1970. */
  readonly timeMs: number;
  readonly files: readonly MadeUpFile[];
}

export interface MadeUpSourceOptions {
  /** Asked once, by the first listing; waits until it is known which files there will be. */
  readonly list: () => Promise<MadeUpFiles>;
  /** What the snapshot says it holds: absolute and sorted. */
  readonly paths: readonly string[];
  readonly holdsRecords: boolean;
  readonly close: () => Promise<void>;
}

/** What the engine takes for a file that fits a buffer it may begin again when it does not, and ours cannot be begun again. */
const minClaimedBytes = 1024 * 1024;

/**
 * Files that no disk has, with the folders that their paths name, as a source. Whoever reads it begins the files in the order of the
 * listings: depth first, each folder by the bytes of its names. Codes: path_not_found, and what the contents throw.
 */
export class MadeUpSource implements Source {
  readonly paths: readonly string[];
  readonly holdsRecords: boolean;
  readonly #options: MadeUpSourceOptions;
  #listed: Promise<MadeUpFiles> | undefined;

  constructor(options: MadeUpSourceOptions) {
    this.paths = options.paths;
    this.holdsRecords = options.holdsRecords;
    this.#options = options;
  }

  async readDirectory(path: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<SourceEntry[]> {
    signal?.throwIfAborted();
    const { files, timeMs } = await this.#files();
    const prefix = path === '/' ? '/' : `${path}/`;
    const below = files.filter((file) => file.path.startsWith(prefix));
    if (below.length === 0 && path !== '/') throw notFound(path);
    const nodes = new Map<string, SourceNode>();
    for (const file of below) {
      const [name = '', ...rest] = file.path.slice(prefix.length).split('/');
      nodes.set(name, rest.length > 0 ? folderNode(name, timeMs) : fileNode(name, timeMs, file.estimatedBytes ?? 0));
    }
    return [...nodes.values()]
      .toSorted((a, b) => Buffer.compare(pathToBytes(a.name), pathToBytes(b.name)))
      .map((node) => ({ kind: 'node', node }));
  }

  async openFile(path: string): Promise<SourceFile> {
    const file = (await this.#files()).files.find((each) => each.path === path);
    if (file === undefined) throw notFound(path);
    return new StreamFile(file.open(), { hasRows: false, onClose: () => {} });
  }

  async estimate(): Promise<{ files: number; bytes: number }> {
    const { files } = await this.#files();
    return { files: files.length, bytes: files.reduce((sum, { estimatedBytes = 0 }) => sum + estimatedBytes, 0) };
  }

  async close(): Promise<void> {
    await this.#options.close();
  }

  #files(): Promise<MadeUpFiles> {
    return (this.#listed ??= this.#options.list());
  }
}

/** The order in which a reader begins files: as MadeUpSource lists them. */
export function compareReadingOrder(a: string, b: string): number {
  const [left, right] = [a.split('/'), b.split('/')];
  const at = left.findIndex((name, index) => name !== right[index]);
  return at === -1 ? left.length - right.length : Buffer.compare(pathToBytes(left[at] ?? ''), pathToBytes(right[at] ?? ''));
}

function fileNode(name: string, timeMs: number, estimatedBytes: number): SourceNode {
  return { ...madeUp(name, timeMs), type: 'file', mode: 0o600, sizeBytes: Math.max(estimatedBytes, minClaimedBytes) };
}

function folderNode(name: string, timeMs: number): SourceNode {
  return { ...madeUp(name, timeMs), type: 'dir', mode: 0o700, sizeBytes: 0 };
}

/** What a file has that is on no disk. The time is the backup's, so no file is ever taken for the one of an earlier backup. */
function madeUp(name: string, timeMs: number): Omit<SourceNode, 'type' | 'mode' | 'sizeBytes'> {
  const timeNs = BigInt(timeMs) * 1_000_000n;
  const times = { modifiedNs: timeNs, accessedNs: timeNs, changedNs: timeNs };
  return { name, ...times, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, inode: 0n, deviceId: 0n, linkCount: 1n };
}

function notFound(path: string): HoldfastError {
  return new HoldfastError('path_not_found', `the backup makes no ${posix.normalize(path)}`);
}
