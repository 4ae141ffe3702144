import { hash } from 'node:crypto';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { posix } from 'node:path';
import { readingError } from '../file-system-error.ts';
import { listFolder, listScan, readNode, type ListingOptions } from '../folder-listing.ts';
import { scanFolder } from '../folder-scan.ts';
import type { OwnerNames } from '../owner-names.ts';
import { compileSelection } from '../source-selection.ts';
import type { ReadDirectoryOptions, SkippedEntry, Source, SourceEntry, SourceFile, SourceNode } from '../source.ts';
import { pathToBytes, printablePath, toSystemPath } from '../system-path.ts';
import { openVerifiedFolder } from '../verified-folder.ts';
import { openLogFile } from './log-file.ts';
import { encodeManifest } from './log-manifest.ts';
import { logsFolder, manifestName, readmeName, readmeText } from './log-texts.ts';
import type { LogPlan, PlannedLog } from './plan-logs.ts';

export interface PlannedSourceOptions {
  /** The real folders at which the globs begin. */
  readonly bases: readonly string[];
  readonly plan: LogPlan;
  /** Those of the plan that the window of time takes. */
  readonly shown: readonly PlannedLog[];
  readonly unmatchedGlobs: readonly string[];
  readonly owners: OwnerNames;
}

const everything = compileSelection({});

/** Logs as they were when they were planned, whole and at their own paths; beside them what a run knows of each. */
export class PlannedSource implements Source {
  readonly paths: readonly string[];
  readonly plan: LogPlan;
  readonly shown: readonly PlannedLog[];
  readonly unmatchedGlobs: readonly string[];
  /** What was odd about files when they were looked at or read. */
  readonly warnings: string[];
  readonly #owners: OwnerNames;
  readonly #logs: ReadonlyMap<string, PlannedLog>;
  /** Names in each folder on the way to a log. */
  readonly #folders = new Map<string, Set<string>>();
  /** When the newest log below a folder was written to: other files come and go there, and what they do to it is not of interest. */
  readonly #foldersNs = new Map<string, bigint>();
  readonly #texts: ReadonlyMap<string, Uint8Array>;
  readonly #textsNs: bigint;
  #skipped: readonly SkippedEntry[];

  constructor({ bases, plan, shown, unmatchedGlobs, owners }: PlannedSourceOptions) {
    this.plan = plan;
    this.shown = shown;
    this.unmatchedGlobs = unmatchedGlobs;
    this.warnings = [...plan.warnings];
    this.#owners = owners;
    this.#skipped = plan.skipped;
    this.#logs = new Map(shown.map((planned) => [planned.file.path, planned]));
    for (const { file } of shown) this.#addFolders(file.path, file.modifiedNs);
    const [top] = bases.filter((base) => this.#folders.has(base));
    this.paths = top === undefined ? [logsFolder] : bases.filter((base) => this.#folders.has(base));
    this.#texts = new Map<string, Uint8Array>([
      [manifestName, encodeManifest(plan.entries)],
      [readmeName, Buffer.from(readmeText)],
    ]);
    // Of the newest run that found something, so that one that finds nothing shows the same.
    const newestMs = plan.entries.reduce((newest, { run }) => Math.max(newest, Date.parse(run)), 0);
    this.#textsNs = BigInt(newestMs) * 1_000_000n;
  }

  /** What is to be read, at the most. */
  get unreadBytes(): number {
    return this.shown.reduce(
      (sum, { file, continues, isUnchanged }) => sum + (isUnchanged ? 0 : file.sizeBytes - (continues?.sizeBytes ?? 0)),
      0,
    );
  }

  async readDirectory(path: string, options: ReadDirectoryOptions = {}): Promise<SourceEntry[]> {
    options.signal?.throwIfAborted();
    if (path === logsFolder) return [...this.#texts].map(([name, bytes]) => nodeEntry(this.#textNode(name, bytes))).toSorted(byName);
    const names = this.#folders.get(path) ?? new Set<string>();
    if (names.size === 0 && path !== '/') throw missing(path);
    const [folders, files] = [new Set<string>(), new Set<string>()];
    for (const name of names) (this.#logs.has(posix.join(path, name)) ? files : folders).add(name);
    const entries = [...(await this.#folderEntries(path, folders)), ...(await this.#logEntries(path, files, options))];
    if (path !== '/') return entries.toSorted(byName);
    entries.push(nodeEntry(this.#textNode(posix.basename(logsFolder), null)));
    // Found before anything is listed, and told once.
    const skipped = this.#skipped.map((one): SourceEntry => ({ kind: 'skipped', skipped: one }));
    this.#skipped = [];
    return [...entries.toSorted(byName), ...skipped];
  }

  async openFile(path: string): Promise<SourceFile> {
    const text = posix.dirname(path) === logsFolder ? this.#texts.get(posix.basename(path)) : undefined;
    if (text !== undefined) return textFile(text);
    const planned = this.#logs.get(path);
    if (planned === undefined) throw missing(path);
    return await openLogFile(planned, (message) => this.warnings.push(message));
  }

  async estimate({ signal }: { signal?: AbortSignal } = {}): Promise<{ files: number; bytes: number }> {
    signal?.throwIfAborted();
    const sizes = [...this.shown.map(({ file }) => file.sizeBytes), ...[...this.#texts.values()].map(({ length }) => length)];
    return { files: sizes.length, bytes: sizes.reduce((sum, sizeBytes) => sum + sizeBytes, 0) };
  }

  async close(): Promise<void> {}

  #addFolders(path: string, modifiedNs: bigint): void {
    const folder = posix.dirname(path);
    const names = this.#folders.get(folder) ?? new Set<string>();
    const isKnown = names.has(posix.basename(path)) && (this.#foldersNs.get(folder) ?? 0n) >= modifiedNs;
    if (isKnown) return;
    this.#folders.set(folder, names.add(posix.basename(path)));
    const newestNs = this.#foldersNs.get(folder);
    if (newestNs === undefined || newestNs < modifiedNs) this.#foldersNs.set(folder, modifiedNs);
    if (folder !== '/') this.#addFolders(folder, modifiedNs);
  }

  async #folderEntries(path: string, names: ReadonlySet<string>): Promise<SourceEntry[]> {
    const entries: SourceEntry[] = [];
    for (const name of names) {
      const at = posix.join(path, name);
      try {
        const { node, problem } = await readNode(toSystemPath(at), name, this.#owners);
        const timeNs = this.#foldersNs.get(at) ?? 0n;
        const times = { modifiedNs: timeNs, accessedNs: timeNs, changedNs: timeNs };
        if (node?.type === 'dir') entries.push(nodeEntry({ ...node, ...times }));
        if (node?.type !== 'dir' || problem !== undefined) entries.push(skippedEntry(at, problem ?? 'is no longer a folder'));
      } catch (error) {
        throw readingError(error, at);
      }
    }
    return entries;
  }

  async #logEntries(path: string, names: ReadonlySet<string>, options: ReadDirectoryOptions): Promise<SourceEntry[]> {
    if (names.size === 0) return [];
    const { signal, attributesBefore, leavesFileAttributes } = options;
    const listing: ListingOptions = {
      selection: everything,
      device: 0n,
      owners: this.#owners,
      names,
      signal,
      attributesBefore,
      leavesFileAttributes,
    };
    const entries = await this.#list(path, names, listing);
    const seen = new Set(entries.flatMap((entry) => (entry.kind === 'node' ? [entry.node.name] : [])));
    const shown = entries.map((entry) => (entry.kind === 'node' ? this.#asPlanned(path, entry.node) : entry));
    const vanished = [...names].filter((name) => !seen.has(name));
    return [...shown, ...vanished.map((name) => skippedEntry(posix.join(path, name), 'has gone since the run began'))];
  }

  async #list(path: string, names: ReadonlySet<string>, listing: ListingOptions): Promise<SourceEntry[]> {
    try {
      using scan = scanFolder(path, names);
      if (scan !== undefined) return await listScan(path, scan, listing);
      await using folder = await openVerifiedFolder(path);
      return await listFolder(folder, listing);
    } catch (error) {
      throw readingError(error, path);
    }
  }

  #asPlanned(folder: string, node: SourceNode): SourceEntry {
    const path = posix.join(folder, node.name);
    const planned = this.#logs.get(path);
    const isPlanned = node.type === 'file' && planned?.file.inode === node.inode && planned.file.device === node.deviceId;
    if (!isPlanned) return skippedEntry(path, 'was rotated since the run began; the next run finds it');
    const { file, continues } = planned;
    const sizeBytes = Math.min(file.sizeBytes, node.sizeBytes);
    return nodeEntry({ ...node, sizeBytes, ...(continues === undefined ? {} : { continues }) });
  }

  /** A folder for null. Its inode follows from its content: another manifest is another file, though it has the same time and size. */
  #textNode(name: string, bytes: Uint8Array | null): SourceNode {
    const times = { modifiedNs: this.#textsNs, accessedNs: this.#textsNs, changedNs: this.#textsNs };
    const inode = bytes === null ? 0n : BigInt(`0x${hash('sha256', bytes).slice(0, 12)}`);
    const [mode, sizeBytes] = bytes === null ? [0o755, 0] : [0o644, bytes.length];
    const type = bytes === null ? 'dir' : 'file';
    const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    return { name, type, mode, ...times, ...owner, inode, deviceId: 0n, sizeBytes, linkCount: 1n };
  }
}

function textFile(bytes: Uint8Array): SourceFile {
  return {
    read: async (into, positionBytes) => {
      const part = bytes.subarray(positionBytes, positionBytes + into.length);
      into.set(part);
      return part.length;
    },
    close: async () => {},
  };
}

function nodeEntry(node: SourceNode): SourceEntry {
  return { kind: 'node', node };
}

function skippedEntry(path: string, reason: string): SourceEntry {
  return { kind: 'skipped', skipped: { path: printablePath(path), reason } };
}

function byName(a: SourceEntry, b: SourceEntry): number {
  if (a.kind !== 'node' || b.kind !== 'node') return Number(a.kind !== 'node') - Number(b.kind !== 'node');
  return Buffer.compare(pathToBytes(a.node.name), pathToBytes(b.node.name));
}

function missing(path: string): HoldfastError {
  return new HoldfastError('path_not_found', `${JSON.stringify(path)} is not part of this backup`, { context: { path } });
}
