import { invariant } from '@holdfast/errors/invariant';
import { decodeNode, encodeNode, type TreeNode } from './node.ts';
import { compareNames } from './file-name.ts';
import { parseJson } from './json-fields.ts';
import type { ObjectId } from './object-id.ts';

/**
 * A tree by the JSON text of its nodes. Most nodes of a tree come again unchanged in the next backup: as text they are compared and
 * carried over at a tenth of the cost of decoding and encoding them.
 */
export interface TreeText {
  /** The nodes' JSON, each whole, in the tree's order, by the JSON of the name as it stands there. */
  readonly nodes: ReadonlyMap<string, string>;
}

/** What a node begins with, up to the quote that opens its name, and what follows on the name; the list's own begin and end. */
const nodeStart = '{"name":';
const afterName = '","type":"';
const [treeStart, treeEnd] = ['{"nodes":[', ']}'];

/**
 * Splits a tree into its nodes without decoding them. Null when it is not written as restic and we write it (other field order,
 * blanks): decodeTree takes it then. What the nodes hold is not checked.
 */
export function splitTree(bytes: Uint8Array): TreeText | null {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  const end = text.lastIndexOf(treeEnd);
  if (!text.startsWith(treeStart) || end < treeStart.length || text.slice(end + treeEnd.length).trim() !== '') return null;
  const nodes = new Map<string, string>();
  for (let at = treeStart.length; at < end;) {
    const next = nextNode(text, at + nodeStart.length, end);
    const nodeEnd = next === -1 ? end : next - 1;
    const name = nameAt(text, at);
    if (name === null || text.charCodeAt(nodeEnd - 1) !== 0x7d) return null;
    nodes.set(name, text.slice(at, nodeEnd));
    at = next === -1 ? end : next;
  }
  return { nodes };
}

/**
 * Where the next node begins, or -1. Within a string the quotes of such a beginning would be escaped; only extended attributes begin
 * alike, and in them no type follows on the name.
 */
function nextNode(text: string, from: number, end: number): number {
  for (let at = text.indexOf(`,${nodeStart}`, from); at !== -1 && at < end; at = text.indexOf(`,${nodeStart}`, at + 1)) {
    if (nameAt(text, at + 1) !== null) return at + 1;
  }
  return -1;
}

/** The JSON string of the name of the node that begins at `at`; null when there is none. */
function nameAt(text: string, at: number): string | null {
  const start = at + nodeStart.length;
  if (!text.startsWith(nodeStart, at) || text.charCodeAt(start) !== 0x22) return null;
  let end = text.indexOf('"', start + 1);
  while (end !== -1 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
  return end !== -1 && text.startsWith(afterName, end) ? text.slice(start, end + 1) : null;
}

/** Whether an odd number of backslashes stands before. */
function isEscaped(text: string, at: number): boolean {
  let before = at;
  while (text.charCodeAt(before - 1) === 0x5c) before--;
  return (at - before) % 2 === 1;
}

/** The node of a text that splitTree gave. Errors: repository_damaged. */
export function decodeNodeText(text: string): TreeNode {
  return decodeNode(parseJson(Buffer.from(text), 'a tree node'));
}

/** A node's text and its name, to be joined to a tree. */
export interface NamedNodeText {
  readonly name: string;
  readonly text: string;
}

export function encodeNodeText(node: TreeNode): NamedNodeText {
  return { name: node.name, text: encodeNode(node) };
}

/** The bytes of the tree; see encodeTree. Errors: internal when names are not strictly ascending. */
export function joinTree(nodes: readonly NamedNodeText[]): Uint8Array {
  for (let nth = 1; nth < nodes.length; nth++) {
    const isAscending = compareNames(nodes[nth - 1]?.name ?? '', nodes[nth]?.name ?? '') < 0;
    invariant(isAscending, 'the nodes of a tree are not sorted, or two have the same name');
  }
  return joinNodeTexts(nodes.map((node) => node.text));
}

/** As joinTree, of texts that are in a tree's order. */
export function joinNodeTexts(texts: readonly string[]): Uint8Array {
  return Buffer.from(`${treeStart}${texts.join(',')}${treeEnd}\n`, 'utf8');
}

const subtreeStart = '"subtree":"';
const subtreeEnd = '"}';

/** The text of a folder's node with another tree; `before` is the one that it has. */
export function replaceSubtree(text: string, before: ObjectId, after: ObjectId): string {
  if (text.endsWith(`${subtreeStart}${before}${subtreeEnd}`)) {
    return `${text.slice(0, -(before.length + subtreeEnd.length))}${after}${subtreeEnd}`;
  }
  return encodeNode({ ...decodeNodeText(text), subtree: after });
}
