import { invariant } from '@holdfast/errors/invariant';

import { compareNames } from './file-name.ts';
import { JsonFields, parseJson } from './json-fields.ts';
import { decodeNode, decodeShownNode, encodeNode, unknownTypeError, type TreeNode } from './node.ts';

/** Tree: a folder as `{"nodes":[…]}` and a newline, nodes sorted by the bytes of their names. The hash of these bytes is its id. */

/** The bytes of a tree blob. Errors: internal when names are not strictly ascending (compareNames). */
export function encodeTree(nodes: readonly TreeNode[]): Uint8Array {
  const isAscending = nodes.every((node, i) => i === 0 || compareNames(nodes[i - 1]?.name ?? '', node.name) < 0);
  invariant(isAscending, 'the nodes of a tree are not sorted, or two have the same name');
  return Buffer.from(`{"nodes":[${nodes.map(encodeNode).join(',')}]}\n`, 'utf8');
}

/**
 * The nodes of a tree blob, in its order, which is not checked. Fields that this version does not know are dropped, so a tree of a newer
 * program may not come back under its id. Errors: repository_damaged.
 */
export function decodeTree(bytes: Uint8Array): TreeNode[] {
  const fields = new JsonFields(parseJson(bytes, 'a tree'), 'a tree');
  return fields.array('nodes').map(decodeNode);
}

/**
 * As decodeTree, without the nodes whose names lead out of their folder or are none: these come in a form that can be shown. For whoever
 * is to bring back what is sound beside what somebody has forged. Errors: repository_damaged.
 */
export function decodeSoundNodes(bytes: Uint8Array): { readonly nodes: TreeNode[]; readonly unsafeNames: string[] } {
  const fields = new JsonFields(parseJson(bytes, 'a tree'), 'a tree');
  const nodes: TreeNode[] = [];
  const unsafeNames: string[] = [];
  for (const value of fields.array('nodes')) {
    const { node, unsafeName, unknownType } = decodeShownNode(value);
    if (unknownType !== undefined) throw unknownTypeError(unknownType);
    if (unsafeName === undefined) nodes.push(node);
    else unsafeNames.push(unsafeName);
  }
  return { nodes, unsafeNames };
}
