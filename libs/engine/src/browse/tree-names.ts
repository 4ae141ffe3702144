import { idStride, scanTreeNodes, type ScannedNode } from '@holdfast/restic-format/node-scan';
import { nodeTypes, type NodeType } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { contentIdOf } from './browsed-entry.ts';
import type { NameTable } from './name-table.ts';
import { openTreeListing } from './tree-listing.ts';

/**
 * What a search needs of a tree, in columns: 41 bytes an entry and 36 more a folder, where the tree's text takes 350. Entries are in the order of their names.
 */
export interface TreeNames {
  readonly count: number;
  readonly heldBytes: number;
  /** Their numbers in the table that it was made with. */
  readonly names: Uint32Array;
  /** A number of nodeTypes, and unsafeMark. */
  readonly types: Uint8Array;
  typeAt(place: number): NodeType;
  isUnsafeAt(place: number): boolean;
  sizeAt(place: number): number;
  modifiedNsAt(place: number): bigint;
  /** Of a file; see BrowsedEntry. */
  contentIdAt(place: number): string;
  /** Undefined for what is no folder. */
  subtreeAt(place: number): ObjectId | undefined;
}

/** In `types`. */
export const unsafeMark = 0x80;

const contentIdBytes = 16;
const treeIdBytes = 32;
const fixedHeldBytes = 512;

/** `bytes` are not kept. Errors: repository_damaged. */
export function treeNamesOf(bytes: Uint8Array, table: NameTable): TreeNames {
  const writer = new ColumnWriter(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if (scanTreeNodes(bytes, (node) => writer.addScanned(node, table))) return writer.take();
  const decoded = new ColumnWriter(Buffer.alloc(0));
  const listing = openTreeListing(bytes.slice());
  for (let place = 0; place < listing.count; place++) {
    const { node, isUnsafe } = listing.at(place);
    const { name, type, sizeBytes = 0, modifiedNs, content, subtree } = node;
    decoded.add({
      name: table.numberOfName(name),
      type: nodeTypes.indexOf(type) | (isUnsafe ? unsafeMark : 0),
      sizeBytes,
      ...splitTime(modifiedNs),
      contentId: contentIdOf(content ?? []),
      subtree: isUnsafe || type !== 'dir' ? undefined : subtree,
    });
  }
  return decoded.take();
}

interface ColumnEntry {
  readonly name: number;
  readonly type: number;
  readonly sizeBytes: number;
  readonly modifiedSeconds: number;
  readonly modifiedNs: number;
  readonly contentId: string;
  readonly subtree: ObjectId | undefined;
}

/** Nanoseconds of all years that a tree can hold do not fit into 64 bits. */
function splitTime(timeNs: bigint): { readonly modifiedSeconds: number; readonly modifiedNs: number } {
  const ns = ((timeNs % nsPerSecond) + nsPerSecond) % nsPerSecond;
  return { modifiedSeconds: Number((timeNs - ns) / nsPerSecond), modifiedNs: Number(ns) };
}

const firstRoom = 64;
const noContentId = contentIdOf([]);

class ColumnWriter {
  readonly #json: Buffer;
  #room = firstRoom;
  #count = 0;
  #names = new Uint32Array(firstRoom);
  #types = new Uint8Array(firstRoom);
  #sizes = new Float64Array(firstRoom);
  #seconds = new Float64Array(firstRoom);
  #ns = new Uint32Array(firstRoom);
  #contents = Buffer.alloc(firstRoom * contentIdBytes);
  readonly #folders: number[] = [];
  readonly #subtrees: ObjectId[] = [];

  /** `json` is what scanned nodes stand in. */
  constructor(json: Buffer) {
    this.#json = json;
  }

  addScanned(node: ScannedNode, table: NameTable): void {
    const { nameStart, nameEnd, type, sizeBytes, modifiedSeconds, modifiedNs, subtreeStart } = node;
    this.add({
      name: table.numberOf(this.#json, nameStart, nameEnd),
      type: nodeTypes.indexOf(type),
      sizeBytes,
      modifiedSeconds,
      modifiedNs,
      contentId: this.#contentIdOf(node),
      subtree: subtreeStart === -1 || type !== 'dir' ? undefined : this.#idAt(subtreeStart),
    });
  }

  add({ name, type, sizeBytes, modifiedSeconds, modifiedNs, contentId, subtree }: ColumnEntry): void {
    if (this.#count === this.#room) this.#grow();
    const place = this.#count++;
    this.#names[place] = name;
    this.#types[place] = type;
    this.#sizes[place] = sizeBytes;
    this.#seconds[place] = modifiedSeconds;
    this.#ns[place] = modifiedNs;
    this.#contents.write(contentId, place * contentIdBytes, 'hex');
    if (subtree === undefined) return;
    this.#folders.push(place);
    this.#subtrees.push(subtree);
  }

  take(): TreeNames {
    const count = this.#count;
    return new Columns({
      names: this.#names.slice(0, count),
      types: this.#types.slice(0, count),
      sizes: this.#sizes.slice(0, count),
      seconds: this.#seconds.slice(0, count),
      ns: this.#ns.slice(0, count),
      contents: new Uint8Array(this.#contents.subarray(0, count * contentIdBytes)),
      folders: Uint32Array.from(this.#folders),
      subtrees: new Uint8Array(Buffer.from(this.#subtrees.join(''), 'hex')),
    });
  }

  #contentIdOf({ contentStart, contentCount }: ScannedNode): string {
    if (contentCount === 0) return noContentId;
    if (contentCount === 1) return this.#json.toString('latin1', contentStart, contentStart + contentIdBytes * 2);
    return contentIdOf(Array.from({ length: contentCount }, (_, nth) => this.#idAt(contentStart + nth * idStride)));
  }

  #idAt(start: number): ObjectId {
    return this.#json.toString('latin1', start, start + treeIdBytes * 2);
  }

  #grow(): void {
    this.#room *= 2;
    this.#names = grown(new Uint32Array(this.#room), this.#names);
    this.#types = grown(new Uint8Array(this.#room), this.#types);
    this.#sizes = grown(new Float64Array(this.#room), this.#sizes);
    this.#seconds = grown(new Float64Array(this.#room), this.#seconds);
    this.#ns = grown(new Uint32Array(this.#room), this.#ns);
    this.#contents = grown(Buffer.alloc(this.#room * contentIdBytes), this.#contents);
  }
}

const nsPerSecond = 1_000_000_000n;

function grown<T extends Uint8Array | Uint32Array | Float64Array>(to: T, from: ArrayLike<number>): T {
  to.set(from);
  return to;
}

interface ColumnArrays {
  readonly names: Uint32Array;
  readonly types: Uint8Array;
  readonly sizes: Float64Array;
  readonly seconds: Float64Array;
  readonly ns: Uint32Array;
  readonly contents: Uint8Array;
  /** The places of folders, ascending, and the ids of their trees. */
  readonly folders: Uint32Array;
  readonly subtrees: Uint8Array;
}

class Columns implements TreeNames {
  readonly names: Uint32Array;
  readonly types: Uint8Array;
  readonly #columns: ColumnArrays;

  constructor(columns: ColumnArrays) {
    this.#columns = columns;
    this.names = columns.names;
    this.types = columns.types;
  }

  get count(): number {
    return this.names.length;
  }

  get heldBytes(): number {
    return Object.values(this.#columns).reduce((sum: number, column: ArrayBufferView) => sum + column.byteLength, fixedHeldBytes);
  }

  typeAt(place: number): NodeType {
    return nodeTypes[(this.types[place] ?? 0) & ~unsafeMark] ?? 'file';
  }

  isUnsafeAt(place: number): boolean {
    return ((this.types[place] ?? 0) & unsafeMark) !== 0;
  }

  sizeAt(place: number): number {
    return this.#columns.sizes[place] ?? 0;
  }

  modifiedNsAt(place: number): bigint {
    const { seconds, ns } = this.#columns;
    return BigInt(seconds[place] ?? 0) * nsPerSecond + BigInt(ns[place] ?? 0);
  }

  contentIdAt(place: number): string {
    return hexOf(this.#columns.contents, place * contentIdBytes, contentIdBytes);
  }

  subtreeAt(place: number): ObjectId | undefined {
    const { folders, subtrees } = this.#columns;
    let low = 0;
    for (let high = folders.length; low < high;) {
      const middle = (low + high) >> 1;
      if ((folders[middle] ?? 0) < place) low = middle + 1;
      else high = middle;
    }
    return folders[low] === place ? hexOf(subtrees, low * treeIdBytes, treeIdBytes) : undefined;
  }
}

function hexOf(bytes: Uint8Array, start: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString('hex');
}
