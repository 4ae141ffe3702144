import { lstat } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import type { SourceNode } from '../source.ts';
import { toSystemPath } from '../system-path.ts';

/** Asked for at a time: enough to keep the thread pool busy. */
const batchSize = 32;

/**
 * Folders that are stored only because they lead to something. Other files come and go in them (`/etc`, `/tmp`), which changes their times and
 * is nobody's configuration: they are shown with the time of the newest thing that they lead to, so that what is unchanged gives the same tree.
 */
export class LeadingFolders {
  readonly #newestNs = new Map<string, bigint>();

  /** `paths` are real ones of files, links and folders that are stored. What is no longer there leads nowhere. */
  static async to(paths: Iterable<string>, signal: AbortSignal): Promise<LeadingFolders> {
    const folders = new LeadingFolders();
    const all = [...paths];
    for (let at = 0; at < all.length; at += batchSize) {
      signal.throwIfAborted();
      await Promise.all(all.slice(at, at + batchSize).map((path) => folders.#add(path)));
    }
    return folders;
  }

  /** The node as it is shown; as it is, when it is none of these. */
  show(path: string, node: SourceNode): SourceNode {
    const newestNs = node.type === 'dir' ? this.#newestNs.get(path) : undefined;
    return newestNs === undefined ? node : { ...node, modifiedNs: newestNs, accessedNs: newestNs, changedNs: newestNs };
  }

  async #add(path: string): Promise<void> {
    let modifiedNs: bigint;
    try {
      modifiedNs = (await lstat(toSystemPath(path), { bigint: true })).mtimeNs;
    } catch (error) {
      if (errnoCode(error) === 'ENOENT' || errnoCode(error) === 'ENOTDIR') return;
      throw error;
    }
    for (let folder = posix.dirname(path); folder !== '/'; folder = posix.dirname(folder)) {
      if ((this.#newestNs.get(folder) ?? -1n) < modifiedNs) this.#newestNs.set(folder, modifiedNs);
    }
  }
}
