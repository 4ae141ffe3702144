import { read } from 'node:fs';
import { promisify } from 'node:util';
import type { Source, SourceNode } from '../../libs/sources/src/source.ts';

const readDescriptor = promisify(read);

/** The file that a stream becomes, in restic's repository as in ours. */
export const streamName = 'stdin';

/** A source of one file, which is what comes from the descriptor. */
export function streamSource(descriptor: number): Source {
  const nowNs = BigInt(Date.now()) * 1_000_000n;
  const node: SourceNode = {
    name: streamName,
    type: 'file',
    mode: 0o600,
    modifiedNs: nowNs,
    accessedNs: nowNs,
    changedNs: nowNs,
    uid: 0,
    gid: 0,
    inode: 0n,
    deviceId: 0n,
    // Nobody knows; see Source.openFile.
    sizeBytes: 1024 * 1024,
    linkCount: 1n,
  };
  return {
    paths: [`/${streamName}`],
    readDirectory: async () => [{ kind: 'node', node }],
    openFile: async () => ({
      read: async (into) => (await readDescriptor(descriptor, into, 0, into.length, null)).bytesRead,
      close: async () => {},
    }),
    close: async () => {},
  };
}
