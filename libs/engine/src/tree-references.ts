import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { copyIdAt, scanTreeIds } from '@holdfast/restic-format/tree-scan';

/**
 * What trees point to, without the rest: what a check of the structure needs of them, made in a thread while the tree is in its
 * memory. One buffer: for each tree its id ‖ number of subtrees u32 ‖ number of data blobs u32 ‖ the ids of both, 32 bytes each.
 */
const idBytes = 32;
const headBytes = idBytes + 8;

export class TreeReferenceWriter {
  readonly #parts: Buffer[] = [];

  add(treeId: ObjectId, nodes: readonly TreeNode[]): void {
    const subtrees = nodes.flatMap(({ subtree }) => (subtree === undefined ? [] : [subtree]));
    const blobs = nodes.flatMap(({ content }) => content ?? []);
    const part = newPart(treeId, subtrees.length, blobs.length);
    let at = headBytes;
    for (const ids of [subtrees, blobs]) for (const id of ids) at += part.write(id, at, 'hex');
    this.#parts.push(part);
  }

  /** The same from the tree's text; false when it is not written as usual, and nothing was added. */
  addText(treeId: ObjectId, json: Uint8Array): boolean {
    const found = scanTreeIds(json);
    if (found === null) return false;
    const { subtrees, blobs } = found;
    const part = newPart(treeId, subtrees.length, blobs.length);
    let at = headBytes;
    for (const positions of [subtrees, blobs]) {
      for (const position of positions) {
        copyIdAt(json, position, part, at);
        at += idBytes;
      }
    }
    this.#parts.push(part);
    return true;
  }

  /** All trees so far, in memory of its own; undefined when there is none. */
  take(): Uint8Array<ArrayBuffer> | undefined {
    const parts = this.#parts.splice(0);
    if (parts.length === 0) return undefined;
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }
}

function newPart(treeId: ObjectId, subtreeCount: number, blobCount: number): Buffer {
  const part = Buffer.allocUnsafe(headBytes + (subtreeCount + blobCount) * idBytes);
  part.write(treeId, 0, 'hex');
  part.writeUInt32LE(subtreeCount, idBytes);
  part.writeUInt32LE(blobCount, idBytes + 4);
  return part;
}

/** Where a tree's references lie. */
export interface TreeReferences {
  readonly bytes: Uint8Array;
  /** Of the first id; the ids of subtrees come first. */
  readonly position: number;
  readonly subtreeCount: number;
  readonly blobCount: number;
}

/** The references of all trees that were read. 40 bytes a tree and 32 a reference, and an entry in a map. */
export class TreeGraph {
  readonly #trees = new Map<ObjectId, TreeReferences>();

  add(bytes: Uint8Array): void {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < view.length;) {
      const subtreeCount = view.readUInt32LE(at + idBytes);
      const blobCount = view.readUInt32LE(at + idBytes + 4);
      this.#trees.set(view.toString('hex', at, at + idBytes), { bytes: view, position: at + headBytes, subtreeCount, blobCount });
      at += headBytes + (subtreeCount + blobCount) * idBytes;
    }
  }

  get(treeId: ObjectId): TreeReferences | undefined {
    return this.#trees.get(treeId);
  }
}

/** The references of a tree that was read in another way. */
export function referencesOf(treeId: ObjectId, nodes: readonly TreeNode[]): TreeReferences {
  const writer = new TreeReferenceWriter();
  writer.add(treeId, nodes);
  const graph = new TreeGraph();
  graph.add(writer.take() ?? new Uint8Array(0));
  return graph.get(treeId) ?? { bytes: new Uint8Array(0), position: 0, subtreeCount: 0, blobCount: 0 };
}

export function idAt(bytes: Uint8Array, position: number): ObjectId {
  return Buffer.from(bytes.buffer, bytes.byteOffset + position, idBytes).toString('hex');
}
