import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { overheadBytes } from '@holdfast/restic-format/cipher';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { writingError } from '@holdfast/sources/file-system-error';
import { partialName, partialPrefix } from '@holdfast/sources/partial-entry';
import type { TargetNode } from '@holdfast/sources/target';
import { inTheWay, type TargetWriter } from '@holdfast/sources/target-writer';
import type { BlobIndex } from './blob-index.ts';
import type { DryWriter } from './dry-restore.ts';
import type { DryRun } from './dry-run.ts';
import { failedEntry, isEntryFailure, type FailedEntry } from './entry-failure.ts';
import { staysInPlace, type OverwritePolicy } from './overwrite-policy.ts';
import type { NodeDecoder } from './owner-mapping.ts';
import type { PackToRestore, RestoredPack, RestoredParts } from './restore-pack.ts';
import type { PackRestorer } from './restore-packs.ts';
import type { RestoreStep, RestoreSteps, WholeFolder } from './restore-steps.ts';
import type { RestoreTally } from './restore-tally.ts';
import { joinPath } from './source-node.ts';
import { parentOf, UnfinishedFolders } from './unfinished-folders.ts';

export interface RestoreIntoOptions {
  readonly index: BlobIndex;
  readonly signal: AbortSignal;
  readonly steps: RestoreSteps;
  readonly writer: TargetWriter;
  readonly restorer: PackRestorer;
  /** By default what is in the way is for the target to replace or to refuse. */
  readonly overwrite?: OverwritePolicy;
  readonly decodeNode: NodeDecoder;
  /** Takes the place of all writing; the writer is its own. */
  readonly dryRun?: { readonly run: DryRun; readonly writer: DryWriter } | undefined;
  /** Lists what the target refuses of single entries, and goes on; else the first one ends the recovery. */
  readonly listsRefused: boolean;
  readonly tally: RestoreTally;
}

/** A file of several blobs. It is open: threads write into it by its descriptor, which is the process's. */
interface OpenFile {
  readonly path: string;
  readonly node: TargetNode;
  readonly descriptor: number;
  partsLeft: number;
  failure: string | undefined;
}

/** When the plan has grown to this, it is carried out before the walk goes on: some 300,000 small files. */
const maxPlanBytes = 32 * 1024 * 1024;
/** Files of several blobs that are open at once; the usual limit of descriptors is 1024. */
const maxOpenFiles = 400;
/** Between two looks at what else there is to do: answers of threads, an abort. */
const maxBusyMs = 10;

/**
 * A recovery into a target that threads can write to. Here folders, links and devices are made and files of several blobs opened; the
 * restorer's threads write what is in files; folders get their times when all that is in them is there.
 */
export class RestoreInto {
  readonly #options: RestoreIntoOptions;
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  readonly #openFiles = new Map<number, OpenFile>();
  #fileCount = 0;
  readonly #folders: UnfinishedFolders;
  /** That were there, and stay as they are. */
  readonly #keptFolders = new Set<string>();
  /** That could not be made, and those in them. */
  readonly #lostFolders = new Set<string>();
  /** First path of each file with several names. */
  readonly #firstPaths = new Map<string, string>();
  readonly #failedFirstPaths = new Set<string>();
  #links: { readonly path: string; readonly firstPath: string }[] = [];
  #lookedUpAtMs = performance.now();

  constructor(options: RestoreIntoOptions) {
    this.#options = options;
    this.#folders = new UnfinishedFolders((path, node) => {
      this.#attempt(path, () => {
        options.writer.finishDirectory(path, node);
        options.tally.onDone('directory');
      });
    });
  }

  /** When it throws, files that are not whole are removed, and nothing is written any more. */
  async run(treeId: ObjectId): Promise<void> {
    const { steps, restorer, signal, writer, tally } = this.#options;
    try {
      await steps.start(treeId, signal);
      for (let isMore = true; isMore;) {
        const step = steps.shift();
        if (step !== undefined) await this.#do(step);
        else if (steps.plan.sizeBytes >= maxPlanBytes) await this.#carryOut();
        else isMore = await steps.advance(signal);
        await this.#lookUp();
      }
      await this.#carryOut();
    } finally {
      await restorer.close();
      for (const { path, descriptor } of this.#openFiles.values()) {
        writer.closeFile(descriptor);
        writer.removeFile(path);
      }
      tally.onWarnings(writer.takeWarnings());
      tally.onReplaced(writer.takeReplacedCount());
    }
  }

  async #do(step: RestoreStep): Promise<void> {
    const { tally } = this.#options;
    switch (step.kind) {
      case 'folder':
        this.#folders.hold(parentOf(step.path));
        this.#makeFolder(step);
        break;
      case 'nodes':
        for (const node of step.nodes) await this.#restoreNode(step.path, node);
        break;
      case 'pack':
        this.#begin(step.pack);
        break;
      case 'walked': {
        const { path, node, whole } = step;
        const isLost = this.#lostFolders.delete(path);
        if (whole !== undefined && !isLost) this.#attempt(path, () => this.#removeOthers(path, whole));
        if (path !== '/') this.#folders.addWalked(path, this.#keptFolders.delete(path) || isLost ? undefined : node);
        break;
      }
      case 'failed':
        tally.onFailed({ path: step.path, code: 'repository_damaged', reason: step.reason });
        break;
      case 'left_out':
        // Who has not asked for what is left out takes it for damage.
        if (this.#options.listsRefused) tally.onNotPossible(step);
        else tally.onFailed({ path: step.path, code: 'repository_damaged', reason: step.reason });
        break;
    }
  }

  #makeFolder({ path, node, isOnTheWay }: RestoreStep & { kind: 'folder' }): void {
    const { writer, overwrite, tally } = this.#options;
    const isMade = this.#attempt(path, () => {
      if (this.#lostFolders.has(parentOf(path))) throw lostFolder(path);
      if (overwrite !== undefined && overwrite !== 'always') {
        const existing = writer.look(path);
        if (existing !== undefined && existing.type !== 'dir' && staysInPlace(overwrite, existing, node)) throw inTheWay(path);
      }
      return writer.makeDirectory(path, node);
    });
    const displaced = writer.takeDisplaced();
    if (displaced.count > 0) tally.onRemoved(displaced.bytes);
    const staysAsItIs = isOnTheWay || overwrite === 'never';
    if (isMade === undefined) this.#lostFolders.add(path);
    else if (!isMade && staysAsItIs) this.#keptFolders.add(path);
    // The next attempt, should this one be killed, leaves it alone: it has to look as it should by then.
    else if (isMade && staysAsItIs) this.#attempt(path, () => writer.finishDirectory(path, { ...node, mode: node.mode | ownerBits }));
  }

  #removeOthers(path: string, { from, names }: WholeFolder): void {
    const { writer, steps, tally, dryRun } = this.#options;
    writer.removeOthers(path, names, {
      isDryRun: dryRun !== undefined,
      spares: (at, name) =>
        steps.selection.partOf(joinPath(placeUnder(from, path, at), name)) !== 'all' || (at === path && isPartialOf(name, names)),
      onRemoved: (removed, sizeBytes) => {
        tally.onRemoved(sizeBytes);
        dryRun?.run.add('deleted', removed, sizeBytes);
      },
      onRefused: (refused, error) => {
        const failure = writingError(error, refused);
        if (!isEntryFailure(failure) || !this.#options.listsRefused) throw failure;
        tally.onFailed(failedEntry(refused, failure));
      },
    });
  }

  /** What `work` gives; undefined when the target refuses this entry and that is only listed. */
  #attempt<T>(path: string, work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.#refuse(path, error);
      return undefined;
    }
  }

  /** Lists what the target refuses, or throws the error. */
  #refuse(path: string, error: unknown): void {
    if (!this.#options.listsRefused || !isEntryFailure(error)) throw error;
    this.#fail(failedEntry(path, error));
  }

  async #restoreNode(folder: string, node: TreeNode): Promise<void> {
    const { tally, writer, decodeNode } = this.#options;
    const path = joinPath(folder, node.name);
    const targetNode = decodeNode(node);
    try {
      if (targetNode === undefined) {
        tally.onFailed({ path, code: 'type_not_supported', reason: `a node of type ${node.type} cannot be restored` });
      } else if (this.#lostFolders.has(folder)) throw lostFolder(path);
      else if (node.type === 'file') await this.#planFile(path, folder, node, targetNode);
      else if (!this.#isKept(path, targetNode, 0)) {
        writer.makeNode(path, targetNode);
        tally.onDone('other');
      }
    } catch (error) {
      this.#refuse(path, error);
    }
    await this.#lookUp();
  }

  /** Also tells a dry run of what becomes of the entry; `sizeBytes` is what it takes. */
  #isKept(path: string, node: TargetNode, sizeBytes: number): boolean {
    const { overwrite = 'always', writer, tally, dryRun } = this.#options;
    if (overwrite === 'always' && dryRun === undefined) return false;
    const existing = writer.look(path);
    // Where the content is the snapshot's, so is the rest, then.
    const isContentOnly = overwrite === 'if-changed' && node.type === 'file';
    if (existing !== undefined && staysInPlace(overwrite, existing, node) && (!isContentOnly || writer.keepFile(path, node))) {
      tally.onKept(existing.sizeBytes);
      dryRun?.run.add('kept', path, existing.type === 'file' ? existing.sizeBytes : 0);
      return true;
    }
    dryRun?.writer.plan(path, sizeBytes, existing);
    return false;
  }

  async #planFile(path: string, folder: string, node: TreeNode, targetNode: TargetNode): Promise<void> {
    const { index, steps, tally, writer } = this.#options;
    const link = linkKeyOf(node);
    const firstPath = link === undefined ? undefined : this.#firstPaths.get(link);
    const isKept = this.#isKept(path, targetNode, firstPath === undefined ? targetNode.sizeBytes : 0);
    if (this.#isFurtherName(path, link, firstPath, isKept) || isKept) return;
    const content = node.content ?? [];
    const entries = content.map((id) => index.find('data', id));
    const missing = content[entries.indexOf(-1)];
    if (missing !== undefined) {
      this.#failedFirstPaths.add(path);
      return tally.onFailed({ path, code: 'repository_damaged', reason: `data blob ${missing} is in no index` });
    }
    const [first] = content;
    if (first === undefined) return steps.plan.addEmpty(folder, targetNode);
    if (content.length === 1) return steps.plan.addWhole(entries[0] ?? 0, first, folder, targetNode);

    if (this.#openFiles.size >= maxOpenFiles) await this.#carryOut();
    const fileNumber = this.#fileCount++;
    const descriptor = writer.createFile(path, targetNode);
    this.#folders.hold(folder);
    this.#openFiles.set(fileNumber, { path, node: targetNode, descriptor, partsLeft: content.length, failure: undefined });
    let positionBytes = 0;
    for (const [nth, id] of content.entries()) {
      const entry = entries[nth] ?? 0;
      steps.plan.addPart(entry, id, { fileNumber, descriptor, positionBytes });
      const { length, plainLength } = index.placeOf(entry);
      positionBytes += plainLength === 0 ? length - overheadBytes : plainLength;
    }
  }

  /** Whether the file is there, or planned, under another name: it is linked to that one when all are there. */
  #isFurtherName(path: string, link: string | undefined, firstPath: string | undefined, isKept: boolean): boolean {
    if (link === undefined) return false;
    if (firstPath === undefined) this.#firstPaths.set(link, path);
    else if (!isKept) {
      this.#links.push({ path, firstPath });
      this.#folders.hold(parentOf(path));
    }
    return firstPath !== undefined;
  }

  /** Lets answers of threads and an abort through, and stops at a failure. */
  async #lookUp(): Promise<void> {
    if (performance.now() - this.#lookedUpAtMs < maxBusyMs) return;
    await new Promise(setImmediate);
    this.#lookedUpAtMs = performance.now();
    this.#throwIfFailed();
  }

  #throwIfFailed(): void {
    this.#options.signal.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #begin(pack: PackToRestore): void {
    const { folders } = pack;
    for (const path of folders) this.#folders.hold(path);
    const running = this.#options.restorer
      .restore(pack)
      .then((result) => this.#settle(result, folders))
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Does all that is planned, then what has to wait for it. */
  async #carryOut(): Promise<void> {
    const { steps, writer, tally } = this.#options;
    for (const step of steps.takeAll()) await this.#do(step);
    // While threads still write, what they are done with is finished here.
    this.#folders.begin();
    await Promise.all(this.#running);
    this.#throwIfFailed();
    for (const { path, firstPath } of this.#links.splice(0)) {
      if (this.#failedFirstPaths.has(firstPath)) {
        const reason = `it is a further name of ${firstPath}, which could not be restored`;
        tally.onFailed({ path, code: 'repository_damaged', reason });
      } else {
        this.#attempt(path, () => {
          writer.makeHardLink(path, firstPath);
          tally.onDone('hard_link');
        });
      }
      this.#folders.release(parentOf(path));
      await this.#lookUp();
    }
    for (const finish of this.#folders.finishable()) {
      finish();
      await this.#lookUp();
    }
    this.#folders.pause();
  }

  #settle({ filesDone, bytesDone, replacedCount, failed, parts, warnings }: RestoredPack, folders: readonly string[]): void {
    const { tally, listsRefused } = this.#options;
    const refused = listsRefused ? undefined : failed.find(({ code }) => code !== 'repository_damaged');
    if (refused !== undefined) throw new HoldfastError(refused.code, refused.reason, { context: { path: refused.path } });
    for (const one of failed) this.#fail(one);
    tally.onWarnings(warnings);
    tally.onReplaced(replacedCount);
    for (const part of parts) this.#countParts(part);
    tally.onFilesDone(filesDone);
    tally.onBytes(bytesDone);
    for (const path of folders) this.#folders.release(path);
  }

  #countParts({ fileNumber, partCount, failure: partFailure }: RestoredParts): void {
    const file = this.#openFiles.get(fileNumber);
    if (file === undefined) return;
    file.failure ??= partFailure;
    file.partsLeft -= partCount;
    if (file.partsLeft > 0) return;
    const { writer, tally } = this.#options;
    const { path, node, descriptor, failure } = file;
    this.#openFiles.delete(fileNumber);
    this.#attempt(path, () => {
      try {
        writer.finishFile(path, node, descriptor, failure === undefined);
      } finally {
        writer.closeFile(descriptor);
      }
      if (failure === undefined) tally.onDone('file');
      else this.#fail({ path, code: 'repository_damaged', reason: failure });
    });
    this.#folders.release(parentOf(path));
  }

  #fail(failed: FailedEntry): void {
    this.#failedFirstPaths.add(failed.path);
    this.#options.tally.onFailed(failed);
  }
}

/** A folder has to be entered while things are made in it. */
const ownerBits = 0o700;

/** The same for all names of a file that has several. */
function linkKeyOf(node: TreeNode): string | undefined {
  return (node.linkCount ?? 1n) <= 1n ? undefined : `${node.deviceId ?? 0n} ${node.inode ?? 0n}`;
}

function lostFolder(path: string): HoldfastError {
  return new HoldfastError('target_not_writable', `the folder of ${JSON.stringify(path)} could not be made`, { context: { path } });
}

/** The path in the snapshot of a folder at or below the place `path`, which is that of `from`. */
function placeUnder(from: string, path: string, at: string): string {
  const below = path === '/' ? at : at.slice(path.length);
  return `${from === '/' ? '' : from}${below === '/' ? '' : below}` || '/';
}

/** Whether it is a file on its way to one of these names: see partial-entry.ts. */
function isPartialOf(name: string, names: ReadonlySet<string>): boolean {
  return name.startsWith(partialPrefix) && [...names].some((whole) => partialName(whole) === name);
}
