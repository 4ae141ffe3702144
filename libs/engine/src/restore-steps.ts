import type { TreeNode } from '@holdfast/restic-format/node';
import { objectIdBytes, type ObjectId } from '@holdfast/restic-format/object-id';
import { decodeTree } from '@holdfast/restic-format/tree';
import { scanPlainFiles } from '@holdfast/restic-format/plain-files';
import type { TargetNode } from '@holdfast/sources/target';
import type { BlobIndex } from './blob-index.ts';
import type { BlobLoader } from './blob-loader.ts';
import { isDamage } from './damage.ts';
import type { OverwritePolicy } from './overwrite-policy.ts';
import type { PathSelection } from './path-selection.ts';
import type { PackToRestore } from './restore-pack.ts';
import { RestorePlan } from './restore-plan.ts';
import { decodeTargetNode, joinPath } from './source-node.ts';

/**
 * What there is to do for a recovery, in its order, as a walk through the trees comes upon it: nothing of it is done here, so that the
 * walk can begin before anything may be written. Files that need no second look go into the plan at once.
 */
export type RestoreStep =
  /** A folder that is to be there, before anything in it. */
  | { readonly kind: 'folder'; readonly path: string; readonly node: TargetNode }
  /** Nodes of a folder that are to be looked at one by one; no folders. */
  | { readonly kind: 'nodes'; readonly path: string; readonly nodes: readonly TreeNode[] }
  /** A pack that can be read: its files' folders have come before. */
  | { readonly kind: 'pack'; readonly pack: PackToRestore }
  /** All of a folder was told. `node` is missing for the top, `names` unless it may hold nothing else. */
  | { readonly kind: 'walked'; readonly path: string; readonly node?: TargetNode; readonly names?: ReadonlySet<string> }
  | { readonly kind: 'failed'; readonly path: string; readonly reason: string };

export interface RestoreStepsOptions {
  readonly index: BlobIndex;
  readonly loader: BlobLoader;
  readonly selection: PathSelection;
  readonly overwrite?: OverwritePolicy | undefined;
  readonly deletesExtra: boolean;
}

interface Frame {
  readonly path: string;
  readonly node?: TargetNode;
  readonly names?: ReadonlySet<string>;
  readonly folders: readonly TreeNode[];
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
    const { index, selection, overwrite, deletesExtra } = options;
    this.#options = options;
    this.#takesAll = selection.paths === null && (overwrite === undefined || overwrite === 'always') && !deletesExtra;
    this.plan = new RestorePlan(index, (pack) => this.#queue.push({ kind: 'pack', pack }));
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
      const { path, node, names } = frame;
      this.#queue.push({ kind: 'walked', path, ...(node && { node }), ...(names && { names }) });
      return true;
    }
    const path = joinPath(frame.path, next.name);
    const node = decodeTargetNode(next);
    if (node !== undefined) await this.#enterFolder(path, next, node, signal);
    return true;
  }

  async #enterFolder(path: string, { subtree }: TreeNode, node: TargetNode, signal: AbortSignal): Promise<void> {
    this.#queue.push({ kind: 'folder', path, node });
    try {
      if (subtree === undefined) this.#enter([], path, node);
      else await this.#enterTree(subtree, path, node, signal);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#queue.push({ kind: 'failed', path, reason: error.message });
      this.#frames.push({ path, node, folders: [], nextFolder: 0 });
    }
  }

  async #begin(treeId: ObjectId, signal: AbortSignal): Promise<void> {
    await this.#enterTree(treeId, '/', undefined, signal);
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

  async #enterTree(treeId: ObjectId, path: string, node: TargetNode | undefined, signal: AbortSignal): Promise<void> {
    const { loader } = this.#options;
    const nodes = this.#takesAll
      ? await loader.readTree(treeId, signal, (text) => this.#planPlainFiles(text, path))
      : await loader.loadTree(treeId, signal);
    this.#enter(nodes, path, node);
  }

  #enter(nodes: readonly TreeNode[], path: string, node: TargetNode | undefined): void {
    const { selection, deletesExtra } = this.#options;
    const folders: TreeNode[] = [];
    const others: TreeNode[] = [];
    for (const one of nodes) {
      const part = selection.partOf(joinPath(path, one.name));
      if (part === 'none' || (part === 'through' && one.type !== 'dir')) continue;
      (one.type === 'dir' ? folders : others).push(one);
    }
    if (others.length > 0) this.#queue.push({ kind: 'nodes', path, nodes: others });
    const names = deletesExtra && selection.partOf(path) === 'all' ? new Set(nodes.map(({ name }) => name)) : undefined;
    this.#frames.push({ path, ...(node && { node }), ...(names && { names }), folders, nextFolder: 0 });
  }

  /** Plans the files of a tree that need no second look; gives all other nodes. */
  #planPlainFiles(text: Uint8Array, folder: string): readonly TreeNode[] {
    const tree = scanPlainFiles(text);
    if (tree === null) return decodeTree(text);
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
    return others;
  }
}
