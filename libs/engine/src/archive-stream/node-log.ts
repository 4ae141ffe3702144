import { compressAt } from '@holdfast/restic-format/compression';
import type { NamedNodeText } from '@holdfast/restic-format/tree-text';
import { zstdDecompressSync } from 'node:zlib';

/** A node of a folder. */
export interface LoggedNode extends NamedNodeText {
  readonly isFile: boolean;
}

/** Characters that are compressed at once: a node's text shrinks to a fifth, most of which are its ids. */
const blockLength = 128 * 1024;
/** Blocks that stay decompressed, of those that were read last: the nodes of neighbouring folders lie in the same ones. */
const maxReadBlocks = 32;
const compressionLevel = 1;

/** A line of a block. */
type Line = readonly [folder: number, name: string, text: string, isFile: 0 | 1];

/**
 * The nodes of all folders in the order in which they came, compressed: a million of them take 100 MB. They stay until their folders are made,
 * which is at the end, since only then nothing more can come.
 *
 * A block is lines of JSON: number of the folder, name, text of the node, 1 for a file.
 */
export class NodeLog {
  readonly #blocks: Uint8Array[] = [];
  /** Of each folder, the blocks with its nodes, ascending. */
  readonly #blocksOf = new Map<number, number[]>();
  readonly #read = new Map<number, ReadonlyMap<number, LoggedNode[]>>();
  #lines: string[] = [];
  #length = 0;

  add(folder: number, { name, text, isFile }: LoggedNode): void {
    const line = JSON.stringify([folder, name, text, isFile ? 1 : 0] satisfies Line);
    this.#lines.push(line);
    this.#length += line.length;
    const blocks = this.#blocksOf.get(folder);
    if (blocks === undefined) this.#blocksOf.set(folder, [this.#blocks.length]);
    else if (blocks.at(-1) !== this.#blocks.length) blocks.push(this.#blocks.length);
    if (this.#length >= blockLength) this.#endBlock();
  }

  /** The folder's nodes, in the order in which they came. No more can be added then. */
  nodesOf(folder: number): LoggedNode[] {
    if (this.#lines.length > 0) this.#endBlock();
    return (this.#blocksOf.get(folder) ?? []).flatMap((block) => this.#readBlock(block).get(folder) ?? []);
  }

  #endBlock(): void {
    this.#blocks.push(compressAt(Buffer.from(this.#lines.join('\n')), compressionLevel));
    this.#lines = [];
    this.#length = 0;
  }

  #readBlock(number: number): ReadonlyMap<number, LoggedNode[]> {
    const known = this.#read.get(number);
    if (known !== undefined) return known;
    const nodes = new Map<number, LoggedNode[]>();
    const lines = zstdDecompressSync(this.#blocks[number] ?? new Uint8Array()).toString('utf8');
    for (const line of lines.split('\n')) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a line that was written above
      const [folder, name, text, isFile] = JSON.parse(line) as Line;
      const node = { name, text, isFile: isFile === 1 };
      const others = nodes.get(folder);
      if (others === undefined) nodes.set(folder, [node]);
      else others.push(node);
    }
    const [oldest] = this.#read.keys();
    if (this.#read.size >= maxReadBlocks && oldest !== undefined) this.#read.delete(oldest);
    this.#read.set(number, nodes);
    return nodes;
  }
}
