import { closeSync } from 'node:fs';
import { overheadBytes } from '@holdfast/restic-format/cipher';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { TargetNode, TargetWarning } from '@holdfast/sources/target';
import type { TargetWriter } from '@holdfast/sources/target-writer';
import { isDamage } from './damage.ts';
import type { PackToRestore, RestoredPack, RestoredParts } from './restore-pack.ts';
import type { PackRestorer } from './restore-packs.ts';
import { RestorePlan } from './restore-plan.ts';
import type { RestoreWalkOptions } from './restore-walk.ts';
import { decodeTargetNode, joinPath } from './source-node.ts';

export interface RestoreIntoOptions extends Omit<RestoreWalkOptions, 'target' | 'repository'> {
  readonly writer: TargetWriter;
  readonly restorer: PackRestorer;
  readonly onFilesDone: (fileCount: number) => void;
  readonly onWarnings: (warnings: readonly TargetWarning[]) => void;
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
 * A recovery into a target that threads can write to. This walk makes folders, links and devices and plans the files, whose contents
 * the restorer's threads write; folders get their times when all that is in them is there.
 */
export class RestoreInto {
  readonly #options: RestoreIntoOptions;
  readonly #plan: RestorePlan;
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  readonly #openFiles = new Map<number, OpenFile>();
  #fileCount = 0;
  /** Walked through, those below before those above. */
  #walkedFolders: { readonly path: string; readonly node: TargetNode }[] = [];
  /** First path of each file with several names. */
  readonly #firstPaths = new Map<string, string>();
  readonly #failedFirstPaths = new Set<string>();
  #links: { readonly path: string; readonly firstPath: string }[] = [];
  #lookedUpAtMs = performance.now();

  constructor(options: RestoreIntoOptions) {
    this.#options = options;
    this.#plan = new RestorePlan(options.index, (pack) => this.#begin(pack));
  }

  /** When it throws, files that are not whole are removed, and nothing is written any more. */
  async run(treeId: ObjectId): Promise<void> {
    const { loader, restorer, signal, writer, onWarnings } = this.#options;
    try {
      await this.#walk(await loader.loadTree(treeId, signal), '/');
      await this.#carryOut();
    } finally {
      await restorer.close();
      for (const { path, descriptor } of this.#openFiles.values()) {
        closeSync(descriptor);
        writer.removeFile(path);
      }
      onWarnings(writer.takeWarnings());
    }
  }

  async #walk(nodes: readonly TreeNode[], path: string): Promise<void> {
    const { selection, onFailed, onDone, writer } = this.#options;
    for (const node of nodes) {
      const nodePath = joinPath(path, node.name);
      const part = selection.partOf(nodePath);
      if (part === 'none' || (part === 'through' && node.type !== 'dir')) continue;
      const targetNode = decodeTargetNode(node);
      if (targetNode === undefined) onFailed(nodePath, `a node of type ${node.type} cannot be restored`);
      else if (node.type === 'dir') await this.#restoreFolder(nodePath, node, targetNode);
      else if (node.type === 'file') await this.#planFile(nodePath, path, node, targetNode);
      else {
        writer.makeNode(nodePath, targetNode);
        onDone('other');
      }
      await this.#lookUp();
    }
  }

  async #restoreFolder(path: string, node: TreeNode, targetNode: TargetNode): Promise<void> {
    const { loader, signal, onFailed, writer } = this.#options;
    writer.makeDirectory(path, targetNode);
    try {
      await this.#walk(node.subtree === undefined ? [] : await loader.loadTree(node.subtree, signal), path);
    } catch (error) {
      if (!isDamage(error)) throw error;
      onFailed(path, error.message);
    }
    this.#walkedFolders.push({ path, node: targetNode });
    if (this.#plan.sizeBytes >= maxPlanBytes) await this.#carryOut();
  }

  async #planFile(path: string, folder: string, node: TreeNode, targetNode: TargetNode): Promise<void> {
    const { index, onFailed, writer } = this.#options;
    if (this.#isFurtherName(path, node)) return;
    const content = node.content ?? [];
    const entries = content.map((id) => index.find('data', id));
    const missing = content[entries.indexOf(-1)];
    if (missing !== undefined) {
      this.#failedFirstPaths.add(path);
      return onFailed(path, `data blob ${missing} is in no index`);
    }
    const [first] = content;
    if (first === undefined) return this.#plan.addEmpty(folder, targetNode);
    if (content.length === 1) return this.#plan.addWhole(entries[0] ?? 0, first, folder, targetNode);

    if (this.#openFiles.size >= maxOpenFiles) await this.#carryOut();
    const fileNumber = this.#fileCount++;
    const descriptor = writer.createFile(path, targetNode);
    this.#openFiles.set(fileNumber, { path, node: targetNode, descriptor, partsLeft: content.length, failure: undefined });
    let positionBytes = 0;
    for (const [nth, id] of content.entries()) {
      const entry = entries[nth] ?? 0;
      this.#plan.addPart(entry, id, { fileNumber, descriptor, positionBytes });
      const { length, plainLength } = index.placeOf(entry);
      positionBytes += plainLength === 0 ? length - overheadBytes : plainLength;
    }
  }

  /** Whether the file is there, or planned, under another name: it is linked to that one when all are there. */
  #isFurtherName(path: string, node: TreeNode): boolean {
    if ((node.linkCount ?? 1n) <= 1n) return false;
    const key = `${node.deviceId ?? 0n} ${node.inode ?? 0n}`;
    const firstPath = this.#firstPaths.get(key);
    if (firstPath === undefined) this.#firstPaths.set(key, path);
    else this.#links.push({ path, firstPath });
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
    const running = this.#options.restorer
      .restore(pack)
      .then((result) => this.#settle(result))
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Does all that is planned, then what has to wait for it. */
  async #carryOut(): Promise<void> {
    const { writer, onDone, onFailed } = this.#options;
    this.#plan.handOver();
    await Promise.all(this.#running);
    this.#throwIfFailed();
    for (const { path, firstPath } of this.#links.splice(0)) {
      if (this.#failedFirstPaths.has(firstPath)) {
        onFailed(path, `it is a further name of ${firstPath}, which could not be restored`);
      } else {
        writer.makeHardLink(path, firstPath);
        onDone('hard_link');
      }
      await this.#lookUp();
    }
    for (const { path, node } of this.#walkedFolders.splice(0)) {
      writer.finishDirectory(path, node);
      onDone('directory');
      await this.#lookUp();
    }
  }

  #settle({ filesDone, bytesDone, failed, parts, warnings }: RestoredPack): void {
    const { onFilesDone, onBytes, onWarnings } = this.#options;
    for (const { path, reason } of failed) this.#fail(path, reason);
    onWarnings(warnings);
    for (const part of parts) this.#countParts(part);
    onFilesDone(filesDone);
    onBytes(bytesDone);
  }

  #countParts({ fileNumber, partCount, failure }: RestoredParts): void {
    const file = this.#openFiles.get(fileNumber);
    if (file === undefined) return;
    file.failure ??= failure;
    file.partsLeft -= partCount;
    if (file.partsLeft > 0) return;
    this.#options.writer.finishFile(file.path, file.node, file.descriptor);
    this.#openFiles.delete(fileNumber);
    closeSync(file.descriptor);
    if (file.failure === undefined) this.#options.onDone('file');
    else this.#fail(file.path, file.failure);
  }

  #fail(path: string, reason: string): void {
    this.#failedFirstPaths.add(path);
    this.#options.onFailed(path, reason);
  }
}
