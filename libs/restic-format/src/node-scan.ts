import { isUtf8 } from 'node:buffer';
import { nodeTypes, type NodeType } from './node.ts';
import { TextScan } from './text-scan.ts';

/** What a search needs of one node, and where it stands in the tree's text. The same object is filled for each node. */
export interface ScannedNode {
  nameStart: number;
  nameEnd: number;
  type: NodeType;
  sizeBytes: number;
  modifiedSeconds: number;
  /** 0 to 999,999,999. */
  modifiedNs: number;
  /** Of the first of the ids' 64 digits; each next one begins idStride further. */
  contentStart: number;
  contentCount: number;
  /** Of the id's digits; -1 when there is none. */
  subtreeStart: number;
}

const ascii = (words: string): Uint8Array => Buffer.from(words);
const [treeBegin, treeEnd, nodeBegin, typeField] = [ascii('{"nodes":['), ascii(']}'), ascii('{"name":"'), ascii(',"type":"')];
const types = nodeTypes.map((type) => [type, ascii(`${type}"`)] as const);
const [modeField, modifiedField, accessedField, changedField] = [',"mode":', ',"mtime":"', ',"atime":"', ',"ctime":"'].map(ascii);
const [uidField, gidField, userField, groupField] = [',"uid":', ',"gid":', ',"user":"', ',"group":"'].map(ascii);
const [inodeField, deviceIdField, sizeField, linksField] = [',"inode":', ',"device_id":', ',"size":', ',"links":'].map(ascii);
const [linkTargetField, contentField, subtreeField] = [',"linktarget":"', ',"content":', ',"subtree":"'].map(ascii);
const noContent = ascii('null');
const [quote, comma, slash, dot, openBracket, closeBracket, closeBrace, newline] = [0x22, 0x2c, 0x2f, 0x2e, 0x5b, 0x5d, 0x7d, 0x0a];
const maxUint32 = 2 ** 32 - 1;
const maxSizeBytes = 10 ** 15 - 1;
const idBytes = 32;
/** An id, its quotes and a comma. */
export const idStride = 67;

/**
 * Tells of each node of a tree in turn, without decoding it: a tenth of the cost. False for a tree that is not written as restic and we write
 * it, of plain names in ascending order and without the rarer fields, and for one that is damaged: what was told by then does not count, and
 * the tree is to be decoded.
 */
export function scanTreeNodes(json: Uint8Array, onNode: (node: ScannedNode) => void): boolean {
  return isUtf8(json) && new NodeScan(json).run(onNode);
}

class NodeScan {
  readonly #json: Uint8Array;
  readonly #scan: TextScan;
  readonly #id = new Uint8Array(idBytes);
  readonly #node: ScannedNode = {
    nameStart: 0,
    nameEnd: 0,
    type: 'file',
    sizeBytes: 0,
    modifiedSeconds: 0,
    modifiedNs: 0,
    contentStart: 0,
    contentCount: 0,
    subtreeStart: -1,
  };

  constructor(json: Uint8Array) {
    this.#json = json;
    this.#scan = new TextScan(json);
  }

  run(onNode: (node: ScannedNode) => void): boolean {
    const scan = this.#scan;
    if (!scan.take(treeBegin)) return false;
    if (this.#json[scan.at] !== closeBracket) {
      do {
        if (!this.#takeNode()) return false;
        onNode(this.#node);
      } while (scan.takeByte(comma));
    }
    if (!scan.take(treeEnd)) return false;
    scan.takeByte(newline);
    return scan.at === this.#json.length;
  }

  #takeNode(): boolean {
    const [scan, node] = [this.#scan, this.#node];
    if (!scan.take(nodeBegin) || !this.#takeName() || !scan.take(typeField)) return false;
    const type = types.find(([, words]) => scan.take(words));
    if (type === undefined) return false;
    node.type = type[0];
    if (this.#has(modeField) && scan.number(maxUint32) === -1) return false;
    if (!this.#has(modifiedField) || !scan.takeTime()) return false;
    [node.modifiedSeconds, node.modifiedNs] = [scan.seconds, scan.ns];
    if (!this.#has(accessedField) || !scan.takeTime() || !this.#has(changedField) || !scan.takeTime()) return false;
    if (!this.#has(uidField) || scan.number(maxUint32) === -1 || !this.#has(gidField) || scan.number(maxUint32) === -1) return false;
    if (this.#has(userField) && !scan.skipString()) return false;
    if (this.#has(groupField) && !scan.skipString()) return false;
    if (this.#has(inodeField) && !scan.skipLongNumber()) return false;
    if (this.#has(deviceIdField) && !scan.skipLongNumber()) return false;
    node.sizeBytes = this.#has(sizeField) ? scan.number(maxSizeBytes) : 0;
    if (node.sizeBytes === -1) return false;
    if (this.#has(linksField) && !scan.skipLongNumber()) return false;
    if (this.#has(linkTargetField) && !scan.skipString()) return false;
    return this.#has(contentField) && this.#takeContent() && this.#takeSubtree() && scan.takeByte(closeBrace);
  }

  #has(field: Uint8Array | undefined): boolean {
    return field !== undefined && this.#scan.take(field);
  }

  /** A name that stands for itself and for something in its folder, behind the one before. */
  #takeName(): boolean {
    const [json, scan, node] = [this.#json, this.#scan, this.#node];
    const [before, beforeEnd] = [node.nameStart, node.nameEnd];
    const start = scan.at;
    if (!scan.skipString()) return false;
    const end = scan.at - 1;
    for (let at = start; at < end; at++) if (json[at] === slash) return false;
    const isDots = end - start <= 2 && json[start] === dot && (end - start === 1 || json[start + 1] === dot);
    if (end === start || isDots) return false;
    [node.nameStart, node.nameEnd] = [start, end];
    return compareBytes(json, before, beforeEnd, start, end) < 0;
  }

  #takeContent(): boolean {
    const [scan, node] = [this.#scan, this.#node];
    [node.contentStart, node.contentCount] = [0, 0];
    if (scan.take(noContent)) return true;
    if (!scan.takeByte(openBracket)) return false;
    if (scan.takeByte(closeBracket)) return true;
    node.contentStart = scan.at + 1;
    do {
      if (!scan.takeByte(quote) || !scan.takeHex(this.#id, 0, idBytes) || !scan.takeByte(quote)) return false;
      node.contentCount++;
    } while (scan.takeByte(comma));
    return scan.takeByte(closeBracket);
  }

  #takeSubtree(): boolean {
    const [scan, node] = [this.#scan, this.#node];
    node.subtreeStart = -1;
    if (!this.#has(subtreeField)) return true;
    node.subtreeStart = scan.at;
    return scan.takeHex(this.#id, 0, idBytes) && scan.takeByte(quote);
  }
}

/** Of two stretches of the same bytes: negative, zero or positive. */
function compareBytes(bytes: Uint8Array, a: number, aEnd: number, b: number, bEnd: number): number {
  const count = Math.min(aEnd - a, bEnd - b);
  for (let nth = 0; nth < count; nth++) {
    const difference = (bytes[a + nth] ?? 0) - (bytes[b + nth] ?? 0);
    if (difference !== 0) return difference;
  }
  return aEnd - a - (bEnd - b);
}
