import { compareNames } from '@holdfast/restic-format/file-name';
import { encodeNodeName, encodeNodeStart, type TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { encodeTimestamp } from '@holdfast/restic-format/timestamp';
import { decodeTree } from '@holdfast/restic-format/tree';
import { decodeNodeText, encodeNodeText, joinTree, splitTree, type NamedNodeText } from '@holdfast/restic-format/tree-text';
import type { SourceNode } from '@holdfast/sources/source';
import type { BlobIndex } from './blob-index.ts';
import type { BlobLoader } from './blob-loader.ts';
import { isDamage } from './damage.ts';
import { encodeSourceNode } from './source-node.ts';

/** One folder of the parent snapshot: its nodes as JSON, by the JSON of their names. */
export class ParentFolder {
  readonly treeId: ObjectId | undefined;
  readonly #nodes: ReadonlyMap<string, string>;
  readonly #onDamaged: (reason: string) => void;

  constructor(treeId: ObjectId | undefined, nodes: ReadonlyMap<string, string>, onDamaged: (reason: string) => void) {
    this.treeId = treeId;
    this.#nodes = nodes;
    this.#onDamaged = onDamaged;
  }

  get nodeCount(): number {
    return this.#nodes.size;
  }

  /** Undefined for a damaged node too: its file is then read again. */
  get(name: string): TreeNode | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    try {
      return decodeNodeText(text);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#onDamaged(error.message);
      return undefined;
    }
  }

  text(name: string): string | undefined {
    return this.#nodes.size === 0 ? undefined : this.#nodes.get(encodeNodeName(name));
  }

  /**
   * The texts of all nodes, in the tree's order, with those of `names` replaced by `nodes`; a name that has none there is left out. Null when
   * nothing is another than it was.
   */
  replaced(names: Iterable<string>, nodes: readonly NamedNodeText[]): readonly string[] | null {
    const texts = new Map(this.#nodes);
    let isSame = true;
    const left = new Set(names);
    const added: NamedNodeText[] = [];
    for (const node of nodes) {
      left.delete(node.name);
      const key = encodeNodeName(node.name);
      const before = texts.get(key);
      if (before === node.text) continue;
      isSame = false;
      if (before === undefined) added.push(node);
      else texts.set(key, node.text);
    }
    for (const name of left) if (texts.delete(encodeNodeName(name))) isSame = false;
    if (isSame) return null;
    if (added.length === 0) return [...texts.values()];
    const named = [...texts.values()].map((text) => ({ name: decodeNodeText(text).name, text }));
    return [...named, ...added].toSorted((a, b) => compareNames(a.name, b.name)).map(({ text }) => text);
  }

  /** See ReadDirectoryOptions. Quotes within strings are escaped, so what is looked for is a field wherever it is found. */
  attributes(name: string, inode: bigint, changedNs: bigint): ReadonlyMap<string, Uint8Array> | null {
    const text = this.text(name);
    if (text?.includes(`"ctime":"${encodeTimestamp(changedNs)}"`) !== true || !text.includes(`"inode":${inode},`)) return null;
    return text.includes('"extended_attributes":') ? (this.get(name)?.extendedAttributes ?? null) : noAttributes;
  }

  /**
   * The parent's text of a file that has not changed: all that stat(2) tells of it is the same, and the repository still has every
   * blob of it. Null when it must be looked at more closely (unchangedContent), or read.
   */
  sameFileText(node: SourceNode, index: BlobIndex): string | null {
    if (node.type !== 'file') return null;
    const text = this.text(node.name);
    if (text?.startsWith(encodeNodeStart(encodeSourceNode(node))) !== true) return null;
    const ids = contentOf(text);
    return ids?.every((id) => index.has('data', id)) === true ? text : null;
  }
}

const noAttributes: ReadonlyMap<string, Uint8Array> = new Map();
const nothing = new ParentFolder(undefined, new Map(), () => {});

const contentStart = '"content":[';
const idDigits = 64;
/** Between ids: quote, comma, quote. */
const idStride = idDigits + 3;

/** The ids at the end of a file's text; null when something follows on them. */
function contentOf(text: string): ObjectId[] | null {
  const start = text.lastIndexOf(contentStart) + contentStart.length;
  if (start < contentStart.length || !text.endsWith(']}')) return null;
  const ids: ObjectId[] = [];
  for (let at = start + 1; at < text.length - 2; at += idStride) ids.push(text.slice(at, at + idDigits));
  return ids;
}

/** A folder of the parent, or an empty one when there is none; a damaged one too, after `onDamaged`: its files are then read again. */
export async function loadParentFolder(
  loader: BlobLoader,
  treeId: ObjectId | undefined,
  options: { signal: AbortSignal; onDamaged: (reason: string) => void },
): Promise<ParentFolder> {
  if (treeId === undefined) return nothing;
  try {
    const bytes = await loader.load('tree', treeId, options.signal);
    const nodes = splitTree(bytes)?.nodes ?? decodedTexts(bytes);
    return new ParentFolder(treeId, nodes, options.onDamaged);
  } catch (error) {
    if (!isDamage(error)) throw error;
    options.onDamaged(error.message);
    return nothing;
  }
}

/** A tree that another program wrote in another way: as we would have written it. */
function decodedTexts(bytes: Uint8Array): ReadonlyMap<string, string> {
  return new Map(decodeTree(bytes).map((node) => [encodeNodeName(node.name), encodeNodeText(node).text]));
}

/**
 * The content of a file that has not changed since the parent, or null when it must be read: as restic, it is unchanged when type, size,
 * modification and change time and inode are the same; and it counts only while the repository still has every blob of it.
 */
export function unchangedContent(node: SourceNode, before: TreeNode | undefined, index: BlobIndex): readonly ObjectId[] | null {
  if (before?.type !== 'file' || before.content === null) return null;
  const isSame =
    (before.sizeBytes ?? 0) === node.sizeBytes &&
    before.modifiedNs === node.modifiedNs &&
    before.changedNs === node.changedNs &&
    (before.inode ?? 0n) === node.inode;
  return isSame && before.content.every((id) => index.has('data', id)) ? before.content : null;
}

/** The bytes of a folder's tree; null when it is the parent's. */
export function treeBytesOf(nodes: readonly NamedNodeText[], parent: ParentFolder): Uint8Array | null {
  const isSame = nodes.length === parent.nodeCount && nodes.every(({ name, text }) => parent.text(name) === text);
  return isSame && parent.treeId !== undefined ? null : joinTree(nodes);
}
