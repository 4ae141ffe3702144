import { isUtf8 } from 'node:buffer';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { compareNames } from '@holdfast/restic-format/file-name';
import { JsonFields, parseJson } from '@holdfast/restic-format/json-fields';
import { decodeShownNode, type TreeNode } from '@holdfast/restic-format/node';
import { TextScan } from '@holdfast/restic-format/text-scan';

export interface ListedNode {
  readonly node: TreeNode;
  readonly isUnsafe: boolean;
  /** See BrowsedEntry; then the node is unsafe. */
  readonly unknownType?: string;
}

/**
 * A tree as it is kept in memory: its text, and where its nodes begin in the order of their names. A node is decoded when it is asked for,
 * so that a page of a folder of many thousand entries costs what the page costs.
 */
export interface TreeListing {
  readonly count: number;
  /** What it takes of the memory, near enough. */
  readonly heldBytes: number;
  /** The entry of a name, when it is safe; -1 when there is none. Errors: repository_damaged. */
  find(name: string): number;
  /** How many entries have a name up to and with this one: the place of the first behind it. */
  placeBehind(name: string): number;
  nameAt(place: number): string;
  /** Errors: repository_damaged. */
  at(place: number): ListedNode;
  /** Whether an entry of another tree is written with the same text; false also where that cannot be told at a glance. */
  isSameAt(place: number, other: TreeListing, otherPlace: number): boolean;
}

/** `bytes` are kept. Errors: repository_damaged. */
export function openTreeListing(bytes: Uint8Array): TreeListing {
  if (!isUtf8(bytes)) throw new HoldfastError('repository_damaged', 'a tree is not valid UTF-8');
  const starts = locateNodes(bytes);
  return starts === null ? decodedListing(bytes) : new TextListing(bytes, starts);
}

const ascii = (words: string): Uint8Array => Buffer.from(words);
const [treeBegin, treeEnd, nodeBegin] = [ascii('{"nodes":['), ascii(']}'), ascii('{"name":"')];
const [quote, backslash, comma, dot, slash, closeBracket, newline] = [0x22, 0x5c, 0x2c, 0x2e, 0x2f, 0x5d, 0x0a];

/**
 * Where nodes begin in a tree that is written as restic and we write it, with plain names in ascending order; null for any other text, which
 * is decoded as a whole then. Behind the last one stands where the list ends.
 */
function locateNodes(bytes: Uint8Array): Uint32Array | null {
  const scan = new TextScan(bytes);
  if (!scan.take(treeBegin)) return null;
  const starts: number[] = [];
  if (bytes[scan.at] !== closeBracket) {
    do {
      const start = scan.at;
      const previous = starts.at(-1);
      if (!isPlainNode(bytes, start) || (previous !== undefined && !isAscending(bytes, previous, start))) return null;
      starts.push(start);
      if (!scan.skipObject()) return null;
    } while (scan.takeByte(comma));
  }
  starts.push(scan.at);
  if (!scan.take(treeEnd)) return null;
  scan.takeByte(newline);
  return scan.at === bytes.length ? Uint32Array.from(starts) : null;
}

/** Whether the node begins with a name that stands for itself and for something in its folder. */
function isPlainNode(bytes: Uint8Array, start: number): boolean {
  for (let nth = 0; nth < nodeBegin.length; nth++) if (bytes[start + nth] !== nodeBegin[nth]) return false;
  const nameAt = start + nodeBegin.length;
  let end = nameAt;
  for (let byte = bytes[end]; byte !== quote; byte = bytes[++end]) {
    if (byte === undefined || byte < 0x20 || byte === backslash || byte === slash) return false;
  }
  const isDots = end - nameAt <= 2 && bytes[nameAt] === dot && (end - nameAt === 1 || bytes[nameAt + 1] === dot);
  return end > nameAt && !isDots;
}

/** Of two plain nodes. A quote is below every character of a name but the blank and the exclamation mark, so the end is looked at by itself. */
function isAscending(bytes: Uint8Array, before: number, after: number): boolean {
  for (let [a, b] = [before + nodeBegin.length, after + nodeBegin.length]; ; a++, b++) {
    const [x = 0, y = 0] = [bytes[a], bytes[b]];
    if (y === quote) return false;
    if (x === quote) return true;
    if (x !== y) return x < y;
  }
}

class TextListing implements TreeListing {
  readonly #bytes: Buffer;
  readonly #starts: Uint32Array;

  constructor(bytes: Uint8Array, starts: Uint32Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#starts = starts;
  }

  get count(): number {
    return this.#starts.length - 1;
  }

  get heldBytes(): number {
    return this.#bytes.length + this.#starts.byteLength;
  }

  find(name: string): number {
    const place = findName(this, name);
    return place !== -1 && this.at(place).isUnsafe ? -1 : place;
  }

  placeBehind(name: string): number {
    return placeBehind(this, name);
  }

  nameAt(place: number): string {
    const start = (this.#starts[place] ?? 0) + nodeBegin.length;
    return this.#bytes.toString('utf8', start, this.#bytes.indexOf(quote, start));
  }

  at(place: number): ListedNode {
    const { node, unsafeName, ...rest } = decodeShownNode(parseJson(this.#textAt(place), 'a tree node'));
    // A name that is there twice in one node.
    if (unsafeName !== undefined || node.name !== this.nameAt(place)) {
      throw new HoldfastError('repository_damaged', 'a tree node has two names');
    }
    return { node, isUnsafe: rest.unknownType !== undefined, ...rest };
  }

  isSameAt(place: number, other: TreeListing, otherPlace: number): boolean {
    return other instanceof TextListing && this.#textAt(place).equals(other.#textAt(otherPlace));
  }

  #textAt(place: number): Buffer {
    const [start = 0, next = 0] = [this.#starts[place], this.#starts[place + 1]];
    // Between two nodes there is a comma.
    return this.#bytes.subarray(start, place === this.count - 1 ? next : next - 1);
  }
}

/** A decoded node with its fields, near enough. */
const nodeHeldBytes = 1024;

/** Of a tree with names that are escaped, in no order, unsafe or there twice, or of another program. */
function decodedListing(bytes: Uint8Array): TreeListing {
  const fields = new JsonFields(parseJson(bytes, 'a tree'), 'a tree');
  const listed = fields.array('nodes').map((value): ListedNode => {
    const { node, unsafeName, ...rest } = decodeShownNode(value);
    return { node, isUnsafe: unsafeName !== undefined || rest.unknownType !== undefined, ...rest };
  });
  // Of the same name the first safe one is the one that a path leads to.
  const firsts = new Map<string, ListedNode>();
  for (const each of listed) if (!each.isUnsafe && !firsts.has(each.node.name)) firsts.set(each.node.name, each);
  const rename = renamer(new Set(firsts.keys()));
  const nodes = listed.map((each) => (firsts.get(each.node.name) === each ? each : { ...each, node: rename(each.node), isUnsafe: true }));
  return new DecodedListing(nodes.toSorted((a, b) => compareNames(a.node.name, b.node.name)));
}

/** Gives nodes names of their own, so that pages can end between them. The number only grows: whoever made the tree may have taken many. */
function renamer(taken: Set<string>): (node: TreeNode) => TreeNode {
  let nth = 2;
  return (node) => {
    let name = node.name;
    while (taken.has(name)) name = `${node.name} (${nth++})`;
    taken.add(name);
    return { ...node, name };
  };
}

class DecodedListing implements TreeListing {
  readonly #nodes: readonly ListedNode[];

  constructor(nodes: readonly ListedNode[]) {
    this.#nodes = nodes;
  }

  get count(): number {
    return this.#nodes.length;
  }

  get heldBytes(): number {
    return this.#nodes.reduce((sum, { node }) => sum + nodeHeldBytes + (node.content?.length ?? 0) * 88, 0);
  }

  find(name: string): number {
    const place = findName(this, name);
    return this.#nodes[place]?.isUnsafe === true ? -1 : place;
  }

  placeBehind(name: string): number {
    return placeBehind(this, name);
  }

  nameAt(place: number): string {
    return this.#nodes[place]?.node.name ?? '';
  }

  at(place: number): ListedNode {
    const listed = this.#nodes[place];
    if (listed === undefined) throw new RangeError(`a tree has no entry ${place}`);
    return listed;
  }

  isSameAt(): boolean {
    return false;
  }
}

function findName(listing: TreeListing, name: string): number {
  const place = placeBehind(listing, name) - 1;
  return place >= 0 && listing.nameAt(place) === name ? place : -1;
}

function placeBehind(listing: TreeListing, name: string): number {
  let low = 0;
  for (let high = listing.count; low < high;) {
    const middle = (low + high) >> 1;
    if (compareNames(listing.nameAt(middle), name) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
