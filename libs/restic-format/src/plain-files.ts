import { isUtf8 } from 'node:buffer';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { permissionBitsOf } from './file-mode.ts';
import { parseJson } from './json-fields.ts';
import { decodeNode, type TreeNode } from './node.ts';
import { objectIdBytes } from './object-id.ts';
import { TextScan } from './text-scan.ts';

/**
 * Reads a tree for whoever restores it. Most nodes are files with nothing out of the ordinary, written field for field as restic and we
 * write them: they are read where they lie, at a tenth of the cost of decoding them. All others are decoded as decodeTree does it.
 */
export interface ScannedTree {
  readonly files: readonly PlainFile[];
  /** The ids of the files' contents, 32 bytes each. */
  readonly ids: Uint8Array;
  /** All other nodes, in the tree's order. */
  readonly others: readonly TreeNode[];
}

/** A file with one name, no attributes, and a content of one blob at most. Times are as in timespec: seconds, and what is left, 0 or more. */
export interface PlainFile {
  /** Where the name stands in the tree's bytes; valid UTF-8 with nothing escaped. */
  readonly nameStart: number;
  readonly nameEnd: number;
  /** The low twelve bits of stat(2). */
  readonly mode: number;
  readonly modifiedSeconds: number;
  readonly modifiedNs: number;
  readonly accessedSeconds: number;
  readonly accessedNs: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  /** Where the id of its content begins in `ids`; -1 for an empty file. */
  readonly idStart: number;
}

const text = (words: string): Uint8Array => Buffer.from(words);
const [treeBegin, treeEnd, nameField, fileType] = [text('{"nodes":['), text(']}'), text('{"name":"'), text(',"type":"file"')];
const [modeField, mtimeField, atimeField, ctimeField] = [text(',"mode":'), text(',"mtime":"'), text(',"atime":"'), text(',"ctime":"')];
const [uidField, gidField, userField, groupField] = [text(',"uid":'), text(',"gid":'), text(',"user":"'), text(',"group":"')];
const [inodeField, deviceField, sizeField, linksField] = [text(',"inode":'), text(',"device_id":'), text(',"size":'), text(',"links":')];
const [noContent, contentBegin, contentEnd] = [text(',"content":[]}'), text(',"content":["'), text('"]}')];
const [comma, dot, slash, newline] = [0x2c, 0x2e, 0x2f, 0x0a];
const maxUint32 = 2 ** 32 - 1;
/** A file with its content takes this much text at the least. */
const leastFileBytes = 200;

/**
 * The nodes of a tree blob; null for a text that is no tree, or is written in another way: decodeTree takes it, and says what is wrong.
 */
export function scanPlainFiles(bytes: Uint8Array): ScannedTree | null {
  if (!isUtf8(bytes)) return null;
  try {
    return new TreeScan(bytes).run();
  } catch (error) {
    // A node that cannot be decoded: of the tree, decodeTree says the same.
    if (isHoldfastError(error, 'repository_damaged')) return null;
    throw error;
  }
}

class TreeScan {
  readonly #bytes: Uint8Array;
  readonly #scan: TextScan;
  readonly #files: PlainFile[] = [];
  readonly #others: TreeNode[] = [];
  #ids: Uint8Array;
  #idsLength = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#scan = new TextScan(bytes);
    this.#ids = new Uint8Array(Math.ceil(bytes.length / leastFileBytes) * objectIdBytes);
  }

  run(): ScannedTree | null {
    const scan = this.#scan;
    if (!scan.take(treeBegin)) return null;
    for (let isFirst = true; !scan.take(treeEnd); isFirst = false) {
      if (!isFirst && !scan.takeByte(comma)) return null;
      const start = scan.at;
      const file = this.#takeFile();
      if (file !== null) {
        this.#files.push(file);
        continue;
      }
      scan.at = start;
      if (!scan.skipObject()) return null;
      this.#others.push(decodeNode(parseJson(this.#bytes.subarray(start, scan.at), 'a tree node')));
    }
    while (scan.at < this.#bytes.length) if (!scan.takeByte(newline)) return null;
    return { files: this.#files, ids: this.#ids.subarray(0, this.#idsLength), others: this.#others };
  }

  /** Null when it is anything else than a plain file. */
  #takeFile(): PlainFile | null {
    const scan = this.#scan;
    if (!scan.take(nameField)) return null;
    const nameStart = scan.at;
    if (!scan.skipString()) return null;
    const nameEnd = scan.at - 1;
    if (!scan.take(fileType) || !this.#isNodeName(nameStart, nameEnd)) return null;
    const mode = scan.take(modeField) ? scan.number(maxUint32) : 0;
    if (!scan.take(mtimeField) || !scan.takeTime()) return null;
    const [modifiedSeconds, modifiedNs] = [scan.seconds, scan.ns];
    if (!scan.take(atimeField) || !scan.takeTime()) return null;
    const [accessedSeconds, accessedNs] = [scan.seconds, scan.ns];
    // Nobody restores it, but a tree with a wrong one is a wrong tree.
    if (!scan.take(ctimeField) || !scan.takeTime()) return null;
    const uid = scan.take(uidField) ? scan.number(maxUint32) : -1;
    const gid = scan.take(gidField) ? scan.number(maxUint32) : -1;
    if (mode < 0 || uid < 0 || gid < 0 || !this.#skipUnused()) return null;
    const sizeBytes = scan.take(sizeField) ? scan.number(Number.MAX_SAFE_INTEGER) : 0;
    const linkCount = scan.take(linksField) ? scan.number(1) : 0;
    if (sizeBytes < 0 || linkCount < 0) return null;
    const idStart = this.#takeContent();
    if (idStart === null) return null;
    const times = { modifiedSeconds, modifiedNs, accessedSeconds, accessedNs };
    return { nameStart, nameEnd, mode: permissionBitsOf(mode), ...times, uid, gid, sizeBytes, idStart };
  }

  /** What is restored by number, or not at all. */
  #skipUnused(): boolean {
    const scan = this.#scan;
    if (scan.take(userField) && !scan.skipString()) return false;
    if (scan.take(groupField) && !scan.skipString()) return false;
    if (scan.take(inodeField) && !scan.skipLongNumber()) return false;
    return !scan.take(deviceField) || scan.skipLongNumber();
  }

  /** Where the id is in `ids`, -1 for no content; null for several blobs. */
  #takeContent(): number | null {
    const scan = this.#scan;
    if (scan.take(noContent)) return -1;
    const start = this.#idsLength;
    if (!scan.take(contentBegin) || !scan.takeHex(this.#ids, start, objectIdBytes) || !scan.take(contentEnd)) return null;
    this.#idsLength += objectIdBytes;
    return start;
  }

  /** Whether it is a name that a folder can hold, written as it is. */
  #isNodeName(start: number, end: number): boolean {
    const bytes = this.#bytes;
    if (start === end || (bytes[start] === dot && (end - start === 1 || (end - start === 2 && bytes[start + 1] === dot)))) return false;
    for (let at = start; at < end; at++) if (bytes[at] === slash) return false;
    return true;
  }
}
