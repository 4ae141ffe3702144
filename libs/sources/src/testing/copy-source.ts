import { posix } from 'node:path';
import type { Source, SourceNode } from '../source.ts';
import type { Target } from '../target.ts';
import { readWhole } from './source-contract.ts';

/**
 * Writes all of a source to an open target, in the order that target.ts asks for. What a backup and a recovery do between
 * them, without a repository. Returns what the source skipped.
 */
export async function copySource(source: Source, target: Target): Promise<string[]> {
  const skipped: string[] = [];
  const firstPathOf = new Map<string, string>();
  const copyFile = async (path: string, node: SourceNode): Promise<void> => {
    const identity = `${String(node.deviceId)}:${String(node.inode)}`;
    const first = firstPathOf.get(identity);
    if (node.linkCount > 1n && first !== undefined) return target.makeHardLink(path, first);
    firstPathOf.set(identity, path);
    const file = await target.openFile(path, node);
    const bytes = await readWhole(source, path, node.sizeBytes);
    const middle = Math.floor(bytes.byteLength / 2);
    await file.write(bytes.subarray(middle), middle);
    await file.write(bytes.subarray(0, middle), 0);
    return file.close();
  };
  const copyFolder = async (folder: string): Promise<void> => {
    for (const entry of await source.readDirectory(folder)) {
      if (entry.kind === 'skipped') {
        skipped.push(entry.skipped.path);
        continue;
      }
      const path = posix.join(folder, entry.node.name);
      if (entry.node.type === 'file') await copyFile(path, entry.node);
      else if (entry.node.type !== 'dir') await target.makeNode(path, entry.node);
      else {
        await target.makeDirectory(path, entry.node);
        await copyFolder(path);
        await target.finishDirectory(path, entry.node);
      }
    }
  };
  await copyFolder('/');
  return skipped;
}
