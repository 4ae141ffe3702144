import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { SourceEntry, SourceFile, SourceNode } from '../source.ts';

/** A text that is stored as a file. */
export interface RowFile {
  /** Absolute, in the snapshot. */
  readonly path: string;
  readonly text: string;
}

/**
 * Texts as files whose nodes depend on nothing but their paths and their content: the same rows give the same tree, whoever stores them and
 * when. Their inode is made of the content's hash, so that a changed text of the same length is never taken for the one before.
 */
export class RowFiles {
  readonly #bytes: ReadonlyMap<string, Uint8Array>;

  constructor(files: readonly RowFile[]) {
    this.#bytes = new Map(files.map(({ path, text }) => [path, Buffer.from(text)]));
  }

  holds(path: string): boolean {
    return this.#bytes.has(path) || [...this.#bytes.keys()].some((one) => one.startsWith(`${path}/`));
  }

  /** Sorted by the bytes of the names; nothing for a folder that is not there. */
  list(folder: string): SourceEntry[] {
    const prefix = folder === '/' ? '/' : `${folder}/`;
    const nodes = new Map<string, SourceNode>();
    for (const [path, bytes] of this.#bytes) {
      if (!path.startsWith(prefix)) continue;
      const [name = '', ...rest] = path.slice(prefix.length).split('/');
      nodes.set(name, rest.length === 0 ? fileNode(name, bytes) : folderNode(name));
    }
    return [...nodes.values()]
      .toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
      .map((node) => ({ kind: 'node', node }));
  }

  open(path: string): SourceFile {
    const bytes = this.#bytes.get(path);
    if (bytes === undefined) throw new HoldfastError('path_not_found', `there is no ${path} among the rows`);
    return {
      read: (into, positionBytes) => {
        const part = bytes.subarray(positionBytes, positionBytes + into.length);
        into.set(part);
        return Promise.resolve(part.length);
      },
      close: () => Promise.resolve(),
    };
  }

  get totals(): { readonly files: number; readonly bytes: number } {
    return { files: this.#bytes.size, bytes: [...this.#bytes.values()].reduce((sum, { length }) => sum + length, 0) };
  }
}

/** Of no time: what a time would say, the row says. */
const sameForAll = { modifiedNs: 0n, accessedNs: 0n, changedNs: 0n, uid: 0, gid: 0, deviceId: 0n, linkCount: 1n } as const;

function fileNode(name: string, bytes: Uint8Array): SourceNode {
  const inode = createHash('sha256').update(bytes).digest().readBigUInt64BE() >> 1n;
  return { ...sameForAll, name, type: 'file', mode: 0o600, inode, sizeBytes: bytes.length };
}

function folderNode(name: string): SourceNode {
  return { ...sameForAll, name, type: 'dir', mode: 0o700, inode: 0n, sizeBytes: 0 };
}
