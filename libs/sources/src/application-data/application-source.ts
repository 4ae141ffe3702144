import { posix } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { textContent } from '../postgresql/logical/stream-file.ts';
import { MadeUpSource } from '../made-up-source.ts';
import type { OpenFileOptions, ReadDirectoryOptions, Source, SourceEntry, SourceFile, SourceNode, ThreadSourceOptions } from '../source.ts';
import { pathToBytes } from '../system-path.ts';
import { ReadingOrder } from './reading-order.ts';
import type { Part } from './part.ts';

/** Where the parts lie that are no files of the machine; the name that no path of it may have. */
export const applicationFolder = '/application-data';
export const applicationManifestPath = `${applicationFolder}/manifest.json`;

export interface ApplicationSourceOptions {
  /** File system sources, none of whose paths is in another one of them, at `/` or at applicationFolder. */
  readonly files: readonly Source[];
  /** Real paths of files that are left out of `files`: databases that are in use, which a part shows. */
  readonly hidden: ReadonlySet<string>;
  readonly parts: readonly Part[];
  readonly readme: string;
  /** Asked once everything else has been read. */
  readonly manifest: () => Promise<string>;
  /** Hears once that all of `files` has been read and stored. */
  readonly onFilesRead: () => void;
  /** When the set was taken: milliseconds since 1970. */
  readonly timeMs: number;
}

/**
 * Files of the machine at their own paths, and the parts below `/application-data/<name>/`, as one tree:
 *
 *     /application-data/README.txt      how to restore it by hand
 *     /application-data/manifest.json   which parts, of which moments
 *     /application-data/<part>/...      what the part shows
 *     /srv/app/...                      files
 *
 * Threads open the files of the machine, this source those of parts: as many at a time as each part likes. As long as files of the machine are
 * being read the parts wait, since an application may be frozen for those.
 */
export class ApplicationSource implements Source {
  readonly paths: readonly string[];
  readonly threadOptions?: ThreadSourceOptions;
  /** More than there are readers of parts that wait for others. */
  readonly concurrentFiles = 64;
  readonly #options: ApplicationSourceOptions;
  readonly #own: Source;
  readonly #order: ReadingOrder;
  readonly #partNames: ReadonlySet<string>;

  constructor(options: ApplicationSourceOptions) {
    const { files, parts, timeMs } = options;
    this.#options = options;
    this.paths = [...files.flatMap(({ paths }) => paths), applicationFolder].toSorted(compareBytes);
    if (files.length > 0) this.threadOptions = { kind: 'file_system' };
    this.#partNames = new Set(parts.map(({ name }) => name));
    this.#order = new ReadingOrder({ parts, tops: topNames(files), folder: applicationFolder, onFilesRead: options.onFilesRead });
    this.#own = new MadeUpSource({
      list: async () => ({
        timeMs,
        files: [
          { path: '/README.txt', open: () => textContent(options.readme) },
          { path: '/manifest.json', open: () => textContent(options.manifest()) },
        ],
      }),
      paths: ['/README.txt', '/manifest.json'],
      holdsRecords: false,
      close: async () => undefined,
    });
  }

  streams(folder: string): boolean {
    return folder === applicationFolder || folder.startsWith(`${applicationFolder}/`);
  }

  onFolderStored(path: string): void {
    this.#order.folderStored(path);
  }

  async readDirectory(path: string, options: ReadDirectoryOptions = {}): Promise<SourceEntry[]> {
    if (path === '/') {
      // Whoever walks gives up: no reader is to wait any longer.
      options.signal?.addEventListener('abort', () => this.#order.end(options.signal?.reason), { once: true });
      return [...(await this.#listFiles('/', options)), { kind: 'node', node: this.#folder('application-data') } as const].toSorted(byName);
    }
    if (path === applicationFolder) {
      const own = await this.#own.readDirectory('/', options);
      return [...own, ...[...this.#partNames].map((name) => ({ kind: 'node', node: this.#folder(name) }) as const)].toSorted(byName);
    }
    const inPart = this.#inPart(path);
    if (inPart === undefined) return await this.#listFiles(path, options);
    this.#order.partFolderListed();
    return (await inPart.part.source.readDirectory(inPart.path, options)).map((entry) => below(inPart.part, entry));
  }

  async openFile(path: string, options: OpenFileOptions = {}): Promise<SourceFile> {
    if (path === applicationManifestPath) {
      await this.#order.allRead;
      return await this.#own.openFile('/manifest.json');
    }
    if (posix.dirname(path) === applicationFolder) return await this.#own.openFile(path.slice(applicationFolder.length));
    const inPart = this.#inPart(path);
    if (inPart !== undefined) return await this.#order.open(inPart.part, () => inPart.part.source.openFile(inPart.path, options));
    const owner = this.#options.files.find((source) => source.paths.some((one) => isAtOrBelow(path, one)));
    if (owner === undefined || this.#options.hidden.has(path)) throw notFound(path);
    return await owner.openFile(path, options);
  }

  async estimate(options: { signal?: AbortSignal } = {}): Promise<{ files: number; bytes: number }> {
    const sum = { files: 2, bytes: 0 };
    for (const source of [...this.#options.files, ...this.#options.parts.map((part) => part.source)]) {
      const { files, bytes } = (await source.estimate?.(options)) ?? { files: 0, bytes: 0 };
      sum.files += files;
      sum.bytes += bytes;
    }
    return sum;
  }

  /** The parts are whose who opened them. */
  async close(): Promise<void> {
    this.#order.end(new HoldfastError('internal', 'the source was closed'));
    for (const source of this.#options.files) await source.close();
  }

  /** A folder above several paths shows what leads to each. */
  async #listFiles(path: string, options: ReadDirectoryOptions): Promise<SourceEntry[]> {
    const { files, hidden } = this.#options;
    const entries = new Map<string, SourceEntry>();
    const sources = files.filter(({ paths }) => paths.some((one) => isAtOrBelow(path, one) || isAtOrBelow(one, path)));
    if (sources.length === 0 && path !== '/') throw notFound(path);
    const isAbove = sources.length > 1;
    for (const source of sources) {
      for (const entry of await source.readDirectory(path, isAbove ? withoutRecord(options) : options)) entries.set(nameOf(entry), entry);
    }
    const shown = [...entries.values()].filter((entry) => !hidden.has(pathOf(path, entry)));
    return isAbove ? shown.toSorted(byName) : shown;
  }

  #inPart(path: string): { part: Part; path: string } | undefined {
    if (!path.startsWith(`${applicationFolder}/`)) return undefined;
    const [name = '', ...rest] = path.slice(applicationFolder.length + 1).split('/');
    const part = this.#options.parts.find((each) => each.name === name);
    if (part === undefined) throw notFound(path);
    return { part, path: `/${rest.join('/')}` };
  }

  #folder(name: string): SourceNode {
    const timeNs = BigInt(this.#options.timeMs) * 1_000_000n;
    const times = { modifiedNs: timeNs, accessedNs: timeNs, changedNs: timeNs };
    const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    return { name, type: 'dir', mode: 0o700, sizeBytes: 0, ...times, ...owner, inode: 0n, deviceId: 0n, linkCount: 1n };
  }
}

/** What the tree of files begins with: when all of these are stored, so are the files. */
function topNames(files: readonly Source[]): ReadonlySet<string> {
  return new Set(files.flatMap(({ paths }) => paths.map((path) => `/${path.split('/')[1] ?? ''}`)));
}

/** What a part leaves out is told by the place that it would have in the backup. */
function below({ name }: Part, entry: SourceEntry): SourceEntry {
  if (entry.kind === 'node') return entry;
  const { path, reason } = entry.skipped;
  return { kind: 'skipped', skipped: { path: `${applicationFolder}/${name}${path}`, reason } };
}

/** Several sources would each begin it anew. */
function withoutRecord({ record: _record, ...options }: ReadDirectoryOptions): ReadDirectoryOptions {
  return options;
}

function nameOf(entry: SourceEntry): string {
  return entry.kind === 'node' ? entry.node.name : posix.basename(entry.skipped.path);
}

function pathOf(folder: string, entry: SourceEntry): string {
  return posix.join(folder, nameOf(entry));
}

function byName(a: SourceEntry, b: SourceEntry): number {
  return compareBytes(nameOf(a), nameOf(b));
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(pathToBytes(a), pathToBytes(b));
}

function isAtOrBelow(path: string, root: string): boolean {
  return root === '/' || path === root || path.startsWith(`${root}/`);
}

function notFound(path: string): HoldfastError {
  return new HoldfastError('path_not_found', `${JSON.stringify(path)} is not part of this backup`, { context: { path } });
}
