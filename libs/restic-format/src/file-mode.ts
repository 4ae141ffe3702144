import type { NodeType } from './node.ts';

/** Go's os.FileMode from a node's type and the twelve permission bits of stat(2). */
export declare function encodeFileMode(type: NodeType, permissionBits: number): number;
/** The twelve permission bits of stat(2) (setuid 0o4000, setgid 0o2000, sticky 0o1000, rwx) in Go's os.FileMode. */
export declare function permissionBitsOf(mode: number): number;
