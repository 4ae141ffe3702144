import type { NodeType } from './node.ts';

/**
 * Go's os.FileMode, which a node's `mode` holds: the nine rwx bits as everywhere, but type, setuid, setgid and sticky at bits of Go's own.
 */
const goDir = 2 ** 31;
const goSymlink = 2 ** 27;
const goDevice = 2 ** 26;
const goNamedPipe = 2 ** 25;
const goSocket = 2 ** 24;
const goSetuid = 2 ** 23;
const goSetgid = 2 ** 22;
const goCharDevice = 2 ** 21;
const goSticky = 2 ** 20;
const goIrregular = 2 ** 19;

const typeBits: Record<NodeType, number> = {
  file: 0,
  dir: goDir,
  symlink: goSymlink,
  dev: goDevice,
  chardev: goDevice + goCharDevice,
  fifo: goNamedPipe,
  socket: goSocket,
  irregular: goIrregular,
};

/** `permissionBits`: the low twelve bits of stat(2). */
export function encodeFileMode(type: NodeType, permissionBits: number): number {
  return (
    typeBits[type] +
    (permissionBits & 0o777) +
    ((permissionBits & 0o4000) === 0 ? 0 : goSetuid) +
    ((permissionBits & 0o2000) === 0 ? 0 : goSetgid) +
    ((permissionBits & 0o1000) === 0 ? 0 : goSticky)
  );
}

/** The low twelve bits of stat(2): setuid 0o4000, setgid 0o2000, sticky 0o1000, then rwx. */
export function permissionBitsOf(mode: number): number {
  return (
    (mode & 0o777) +
    ((mode & goSetuid) === 0 ? 0 : 0o4000) +
    ((mode & goSetgid) === 0 ? 0 : 0o2000) +
    ((mode & goSticky) === 0 ? 0 : 0o1000)
  );
}
