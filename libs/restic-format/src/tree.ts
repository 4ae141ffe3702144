import type { TreeNode } from './node.ts';

/** The bytes of a tree blob; their hash is the tree's id. Nodes are sorted by the bytes of their names (compareNames). */
export declare function encodeTree(nodes: readonly TreeNode[]): Uint8Array;
export declare function decodeTree(bytes: Uint8Array): TreeNode[];
