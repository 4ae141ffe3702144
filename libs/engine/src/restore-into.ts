import { overheadBytes } from '@holdfast/restic-format/cipher';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { TargetNode } from '@holdfast/sources/target';
import type { TargetWriter } from '@holdfast/sources/target-writer';
import type { BlobIndex } from './blob-index.ts';
import { staysInPlace, type OverwritePolicy } from './overwrite-policy.ts';
import type { PackToRestore, RestoredPack, RestoredParts } from './restore-pack.ts';
import type { PackRestorer } from './restore-packs.ts';
import type { RestoreStep, RestoreSteps } from './restore-steps.ts';
import type { RestoreTally } from './restore-tally.ts';
import { decodeTargetNode, joinPath } from './source-node.ts';
import { parentOf, UnfinishedFolders } from './unfinished-folders.ts';

export interface RestoreIntoOptions {
  readonly index: BlobIndex;
  readonly signal: AbortSignal;
  readonly steps: RestoreSteps;
  readonly writer: TargetWriter;
  readonly restorer: PackRestorer;
  /** By default what is in the way is for the target to replace or to refuse. */
  readonly overwrite?: OverwritePolicy;
  readonly isDryRun: boolean;
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
  /** First path of each file with several names. */
  readonly #firstPaths = new Map<string, string>();
  readonly #failedFirstPaths = new Set<string>();
  #links: { readonly path: string; readonly firstPath: string }[] = [];
  #lookedUpAtMs = performance.now();

  constructor(options: RestoreIntoOptions) {
    this.#options = options;
    this.#folders = new UnfinishedFolders((path, node) => {
      options.writer.finishDirectory(path, node);
      options.tally.onDone('directory');
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
    }
  }

  async #do(step: RestoreStep): Promise<void> {
    const { writer, tally, overwrite, isDryRun } = this.#options;
    switch (step.kind) {
      case 'folder':
        this.#folders.hold(parentOf(step.path));
        if (!writer.makeDirectory(step.path, step.node) && overwrite === 'never') this.#keptFolders.add(step.path);
        break;
      case 'nodes':
        for (const node of step.nodes) await this.#restoreNode(step.path, node);
        break;
      case 'pack':
        this.#begin(step.pack);
        break;
      case 'walked': {
        const { path, node, names } = step;
        if (names !== undefined) tally.onRemoved(writer.removeOthers(path, names, { isDryRun }));
        if (node !== undefined) this.#folders.addWalked(path, this.#keptFolders.delete(path) ? undefined : node);
        break;
      }
      case 'failed':
        tally.onFailed(step.path, step.reason);
        break;
    }
  }

  async #restoreNode(folder: string, node: TreeNode): Promise<void> {
    const { tally, writer } = this.#options;
    const path = joinPath(folder, node.name);
    const targetNode = decodeTargetNode(node);
    if (targetNode === undefined) tally.onFailed(path, `a node of type ${node.type} cannot be restored`);
    else if (node.type === 'file') await this.#planFile(path, folder, node, targetNode);
    else if (!this.#isKept(path, targetNode)) {
      writer.makeNode(path, targetNode);
      tally.onDone('other');
    }
    await this.#lookUp();
  }

  #isKept(path: string, node: TargetNode): boolean {
    const { overwrite, writer, tally } = this.#options;
    if (overwrite === undefined || overwrite === 'always') return false;
    const existing = writer.look(path);
    if (existing === undefined || !staysInPlace(overwrite, existing, node)) return false;
    // The content is the snapshot's; so is the rest, then.
    if (overwrite === 'if-changed' && node.type === 'file' && !writer.keepFile(path, node)) return false;
    tally.onKept();
    return true;
  }

  async #planFile(path: string, folder: string, node: TreeNode, targetNode: TargetNode): Promise<void> {
    const { index, steps, tally, writer } = this.#options;
    const isKept = this.#isKept(path, targetNode);
    if (this.#isFurtherName(path, node, isKept) || isKept) return;
    const content = node.content ?? [];
    const entries = content.map((id) => index.find('data', id));
    const missing = content[entries.indexOf(-1)];
    if (missing !== undefined) {
      this.#failedFirstPaths.add(path);
      return tally.onFailed(path, `data blob ${missing} is in no index`);
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
  #isFurtherName(path: string, node: TreeNode, isKept: boolean): boolean {
    if ((node.linkCount ?? 1n) <= 1n) return false;
    const key = `${node.deviceId ?? 0n} ${node.inode ?? 0n}`;
    const firstPath = this.#firstPaths.get(key);
    if (firstPath === undefined) this.#firstPaths.set(key, path);
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
        tally.onFailed(path, `it is a further name of ${firstPath}, which could not be restored`);
      } else {
        writer.makeHardLink(path, firstPath);
        tally.onDone('hard_link');
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

  #settle({ filesDone, bytesDone, failed, parts, warnings }: RestoredPack, folders: readonly string[]): void {
    const { tally } = this.#options;
    for (const { path, reason } of failed) this.#fail(path, reason);
    tally.onWarnings(warnings);
    for (const part of parts) this.#countParts(part);
    tally.onFilesDone(filesDone);
    tally.onBytes(bytesDone);
    for (const path of folders) this.#folders.release(path);
  }

  #countParts({ fileNumber, partCount, failure }: RestoredParts): void {
    const file = this.#openFiles.get(fileNumber);
    if (file === undefined) return;
    file.failure ??= failure;
    file.partsLeft -= partCount;
    if (file.partsLeft > 0) return;
    this.#options.writer.finishFile(file.path, file.node, file.descriptor);
    this.#openFiles.delete(fileNumber);
    this.#options.writer.closeFile(file.descriptor);
    this.#folders.release(parentOf(file.path));
    if (file.failure === undefined) this.#options.tally.onDone('file');
    else this.#fail(file.path, file.failure);
  }

  #fail(path: string, reason: string): void {
    this.#failedFirstPaths.add(path);
    this.#options.tally.onFailed(path, reason);
  }
}
