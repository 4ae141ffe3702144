import type { TreeNode } from '@holdfast/restic-format/node';
import { objectIdBytes, type ObjectId } from '@holdfast/restic-format/object-id';
import { decodeSoundNodes } from '@holdfast/restic-format/tree';
import { scanPlainFiles } from '@holdfast/restic-format/plain-files';
import { isPlainName } from '@holdfast/sources/snapshot-path';
import type { TargetNode } from '@holdfast/sources/target';
import type { BlobIndex } from './blob-index.ts';
import type { BlobLoader } from './blob-loader.ts';
import { isDamage } from './damage.ts';
import type { FailedEntry } from './entry-failure.ts';
import type { NodeDecoder } from './owner-mapping.ts';
import type { PathSelection } from './path-selection.ts';
import type { PackToRestore } from './restore-pack.ts';
import { RestorePlan } from './restore-plan.ts';
import { joinPath } from './source-node.ts';
import type { TargetLayout } from './target-layout.ts';

/**
 * What there is to do for a recovery, in its order, as a walk through the trees comes upon it: nothing of it is done here, so that the
 * walk can begin before anything may be written. Files that need no second look go into the plan at once.
 */
export type RestoreStep =
  /** A folder that is to be there, before anything in it; one on the way to what is selected stays as it is when it is there. */
  | { readonly kind: 'folder'; readonly path: string; readonly node: TargetNode; readonly isOnTheWay: boolean }
  /** Nodes of a folder that are to be looked at one by one; no folders. */
  | { readonly kind: 'nodes'; readonly path: string; readonly nodes: readonly TreeNode[] }
  /** A pack that can be read: its files' folders have come before. */
  | { readonly kind: 'pack'; readonly pack: PackToRestore }
  /** All of a folder was told. `node` is missing for the top and a prefix, `whole` unless it may hold nothing else. */
  | { readonly kind: 'walked'; readonly path: string; readonly node?: TargetNode; readonly whole?: WholeFolder }
  | { readonly kind: 'failed'; readonly path: string; readonly reason: string }
  /** What is not to be restored at all, by its path in the snapshot: its name is none, or nothing of its path is left. */
  | ({ readonly kind: 'left_out' } & FailedEntry);

/** A folder that is restored as a whole. */
export interface WholeFolder {
  /** Its path in the snapshot. */
  readonly from: string;
  readonly names: ReadonlySet<string>;
}

export interface RestoreStepsOptions {
  readonly index: BlobIndex;
  readonly loader: BlobLoader;
  readonly selection: PathSelection;
  readonly layout: TargetLayout;
  readonly decodeNode: NodeDecoder;
  /** Whether each entry is to be looked at by itself, whatever becomes of it. */
  readonly looksAtAll: boolean;
  readonly deletesExtra: boolean;
}

interface Frame {
  /** Where what is in it goes. */
  readonly path: string;
  /** The folder in the snapshot. */
  readonly from: string;
  /** How many names are still to be stripped from what is in it. */
  readonly stripsBelow: number;
  /** Missing for the top, and for folders that are stripped. */
  readonly node?: TargetNode;
  readonly isOnTheWay: boolean;
  /** Whether its step was told; on the way it is when the first thing in it is. */
  isMade: boolean;
  whole?: WholeFolder;
  folders: readonly TreeNode[];
  nextFolder: number;
}

/** How far the walk goes ahead: some 100,000 small files. */
const maxAheadBytes = 16 * 1024 * 1024;
const maxAheadSteps = 20_000;
/** Between two pauses for what else there is to do. */
const maxBusyMs = 10;

export class RestoreSteps {
  readonly plan: RestorePlan;
  readonly #options: RestoreStepsOptions;
  /** Whether there is nothing to be asked about a file but where its blobs are. */
  readonly #takesAll: boolean;
  #queue: RestoreStep[] = [];
  #shifted = 0;
  /** The folders that the walk is in, the innermost last. */
  readonly #frames: Frame[] = [];
  #ahead: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: RestoreStepsOptions) {
    const { index, selection, layout, looksAtAll, deletesExtra } = options;
    this.#options = options;
    this.#takesAll = selection.isEverything && layout.stripComponents === 0 && !looksAtAll && !deletesExtra;
    this.plan = new RestorePlan(index, (pack) => this.#queue.push({ kind: 'pack', pack }));
  }

  get selection(): PathSelection {
    return this.#options.selection;
  }

  /** Begins the walk, where it needs nothing but the trees. What goes wrong is thrown by `start`. */
  goAhead(treeId: ObjectId, signal: AbortSignal): void {
    if (!this.#takesAll) return;
    this.#ahead = this.#goAhead(treeId, signal);
    this.#ahead.catch(() => {});
  }

  /** Ends going ahead, or begins the walk. Errors: repository_damaged when the top cannot be read, those of the storage. */
  async start(treeId: ObjectId, signal: AbortSignal): Promise<void> {
    this.#isStopped = true;
    await (this.#ahead ?? this.#begin(treeId, signal));
  }

  /** The next step; undefined when the walk has to go on for it. */
  shift(): RestoreStep | undefined {
    const step = this.#queue[this.#shifted++];
    if (step === undefined) {
      this.#queue = [];
      this.#shifted = 0;
    }
    return step;
  }

  /** All steps that are there of making folders and reading packs, the planned ones too; the others stay. */
  takeAll(): RestoreStep[] {
    this.plan.handOver();
    const steps = this.#queue.slice(this.#shifted);
    this.#queue = steps.filter(({ kind }) => kind !== 'folder' && kind !== 'pack');
    this.#shifted = 0;
    return steps.filter(({ kind }) => kind === 'folder' || kind === 'pack');
  }

  /** Goes on to the next folder; false when there is none. Errors: those of the storage; damage is a step. */
  async advance(signal: AbortSignal): Promise<boolean> {
    const frame = this.#frames.at(-1);
    if (frame === undefined) return false;
    const next = frame.folders[frame.nextFolder++];
    if (next === undefined) {
      this.#frames.pop();
      this.#leave(frame);
      return true;
    }
    await this.#enterFolder(frame, next, signal);
    return true;
  }

  #leave({ path, node, whole, isMade, stripsBelow }: Frame): void {
    const isTop = this.#frames.length === 0;
    if (isTop) {
      const { prefixFolders } = this.#options.layout;
      this.#queue.push({ kind: 'walked', path, ...(whole && { whole }) });
      for (const folder of ['/', ...prefixFolders].slice(0, -1).toReversed()) this.#queue.push({ kind: 'walked', path: folder });
    } else if (isMade && stripsBelow === 0 && node !== undefined) {
      this.#queue.push({ kind: 'walked', path, node, ...(whole && { whole }) });
    }
  }

  async #enterFolder(parent: Frame, entry: TreeNode, signal: AbortSignal): Promise<void> {
    const { selection, decodeNode } = this.#options;
    const from = joinPath(parent.from, entry.name);
    const isStripped = parent.stripsBelow > 0;
    const node = isStripped ? undefined : decodeNode(entry);
    if (!isStripped && node === undefined) return;
    const isOnTheWay = selection.partOf(from) !== 'all';
    const frame: Frame = {
      path: isStripped ? parent.path : joinPath(parent.path, entry.name),
      from,
      stripsBelow: isStripped ? parent.stripsBelow - 1 : 0,
      ...(node && { node }),
      isOnTheWay,
      isMade: false,
      folders: [],
      nextFolder: 0,
    };
    this.#frames.push(frame);
    if (!isOnTheWay) this.#makeWay();
    try {
      if (entry.subtree !== undefined) await this.#fill(frame, entry.subtree, signal);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#queue.push({ kind: 'failed', path: isStripped ? from : frame.path, reason: error.message });
    }
  }

  /** Tells of the folders that the walk is in and that nobody has heard of: there is something for them. */
  #makeWay(): void {
    for (const frame of this.#frames) {
      const { path, node, isOnTheWay, isMade } = frame;
      if (isMade || node === undefined) continue;
      frame.isMade = true;
      this.#queue.push({ kind: 'folder', path, node, isOnTheWay });
    }
  }

  async #begin(treeId: ObjectId, signal: AbortSignal): Promise<void> {
    const { layout, selection } = this.#options;
    for (const path of layout.prefixFolders) this.#queue.push({ kind: 'folder', path, node: prefixNode(path), isOnTheWay: true });
    const frame: Frame = {
      path: layout.top,
      from: layout.from,
      stripsBelow: layout.stripComponents,
      isOnTheWay: selection.partOf(layout.from) !== 'all',
      isMade: true,
      folders: [],
      nextFolder: 0,
    };
    await this.#fill(frame, treeId, signal);
    this.#frames.push(frame);
  }

  async #goAhead(treeId: ObjectId, signal: AbortSignal): Promise<void> {
    await this.#begin(treeId, signal);
    let pausedAtMs = performance.now();
    while (!this.#isStopped && this.plan.sizeBytes < maxAheadBytes && this.#queue.length < maxAheadSteps) {
      if (!(await this.advance(signal))) return;
      if (performance.now() - pausedAtMs < maxBusyMs) continue;
      await new Promise(setImmediate);
      signal.throwIfAborted();
      pausedAtMs = performance.now();
    }
  }

  async #fill(frame: Frame, treeId: ObjectId, signal: AbortSignal): Promise<void> {
    const { loader, selection, deletesExtra } = this.#options;
    const { nodes, unsafeNames } = await loader.readTree(treeId, signal, (text) =>
      this.#takesAll ? this.#planPlainFiles(text, frame.path) : decodeSoundNodes(text),
    );
    for (const name of unsafeNames) {
      const path = joinPath(frame.from, name);
      const reason = 'no file system gives such a name: somebody made it to write elsewhere; it is left out';
      if (selection.partOf(path) !== 'none') this.#queue.push({ kind: 'left_out', path, code: 'path_outside_roots', reason });
    }
    const folders: TreeNode[] = [];
    const others: TreeNode[] = [];
    for (const one of nodes) {
      const from = joinPath(frame.from, one.name);
      const part = selection.partOf(from);
      if (part === 'none' || (part === 'through' && one.type !== 'dir')) continue;
      const refusal = this.#refusalOf(one, frame);
      if (refusal !== undefined) this.#queue.push({ kind: 'left_out', path: from, ...refusal });
      else (one.type === 'dir' ? folders : others).push(one);
    }
    if (others.length > 0) {
      this.#makeWay();
      this.#queue.push({ kind: 'nodes', path: frame.path, nodes: others });
    }
    frame.folders = folders;
    // What is stripped has no place of its own, in which something could be too much.
    if (deletesExtra && frame.stripsBelow === 0 && selection.partOf(frame.from) === 'all') {
      frame.whole = { from: frame.from, names: new Set(nodes.map(({ name }) => name)) };
    }
  }

  /** Why a node has no place in this target: longer names than a file system has come from none, and of some nothing is left. */
  #refusalOf({ name, type }: TreeNode, { stripsBelow }: Frame): Pick<FailedEntry, 'code' | 'reason'> | undefined {
    if (!isPlainName(name)) return { code: 'path_outside_roots', reason: 'its name is longer than a file system takes; it is left out' };
    if (stripsBelow === 0 || type === 'dir') return undefined;
    return { code: 'request_invalid', reason: 'nothing of its path is left when so many components are stripped' };
  }

  /** Plans the files of a tree that need no second look; gives all other nodes. */
  #planPlainFiles(text: Uint8Array, folder: string): ReturnType<typeof decodeSoundNodes> {
    const tree = scanPlainFiles(text);
    if (tree === null) return decodeSoundNodes(text);
    const { index } = this.#options;
    const { files, ids, others } = tree;
    for (const file of files) {
      if (file.idStart === -1) {
        this.plan.addPlainEmpty(folder, file, text);
        continue;
      }
      const entry = index.findBytes('data', ids, file.idStart);
      if (entry !== -1) this.plan.addPlain(entry, ids, folder, file, text);
      else {
        const path = joinPath(folder, Buffer.from(text.subarray(file.nameStart, file.nameEnd)).toString());
        const id = Buffer.from(ids.subarray(file.idStart, file.idStart + objectIdBytes)).toString('hex');
        this.#queue.push({ kind: 'failed', path, reason: `data blob ${id} is in no index` });
      }
    }
    return { nodes: [...others], unsafeNames: [] };
  }
}

/** A folder that the target makes for itself: nobody else's, and of no time that would be kept. */
function prefixNode(path: string): TargetNode {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const own = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  return { name, type: 'dir', mode: 0o700, modifiedNs: 0n, accessedNs: 0n, sizeBytes: 0, ...own };
}
