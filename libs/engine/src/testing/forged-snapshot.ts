import { snapshotName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { encodeSnapshotFile } from '@holdfast/restic-format/snapshot-file';
import { createBlobIndex } from '../blob-index.ts';
import type { BlobSink } from '../blob-sink.ts';
import { systemClock } from '../clock.ts';
import { saveNamedFile } from '../named-file.ts';
import { createPacker } from '../packer.ts';
import type { Repository } from '../repository.ts';

/** What somebody with the key may have written: trees of any text, with any content. */
export interface ForgedNode {
  readonly name: string;
  /** Nodes of a folder, or the content of a file. */
  readonly below: readonly ForgedNode[] | string;
  /** Instead of the content's. */
  readonly sizeBytes?: number;
  /** Instead of dir or file. */
  readonly type?: string;
}

/** A snapshot of a forged tree, whose names are written as they are given: not sorted, twice, or leading elsewhere. */
export async function forgeSnapshot(repository: Repository, nodes: readonly ForgedNode[]): Promise<ObjectId> {
  const { signal } = new AbortController();
  const sink = createPacker({ repository, index: createBlobIndex(), compression: 'auto', clock: systemClock, signal });
  const tree = await forgeTree(sink, nodes);
  await sink.finish();
  const bytes = encodeSnapshotFile({ timeNs: 1n, tree, paths: ['/'] }, repository.cipher);
  return await saveNamedFile(repository, snapshotName, bytes, signal);
}

async function forgeTree(sink: BlobSink, nodes: readonly ForgedNode[]): Promise<ObjectId> {
  const texts: string[] = [];
  for (const { name, below, sizeBytes, type } of nodes) {
    const time = '2024-01-01T00:00:00Z';
    const fields = { mtime: time, atime: time, ctime: time, uid: 0, gid: 0 };
    if (typeof below !== 'string') {
      texts.push(JSON.stringify({ name, type: type ?? 'dir', ...fields, content: null, subtree: await forgeTree(sink, below) }));
      continue;
    }
    const content = below === '' ? [] : [(await sink.save('data', Buffer.from(below))).id];
    texts.push(JSON.stringify({ name, type: type ?? 'file', ...fields, size: sizeBytes ?? below.length, content }));
  }
  return (await sink.save('tree', Buffer.from(`{"nodes":[${texts.join(',')}]}\n`))).id;
}
