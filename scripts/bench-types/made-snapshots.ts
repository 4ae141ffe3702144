import { mkdir } from 'node:fs/promises';
import { createBlobIndex } from '../../libs/engine/src/blob-index.ts';
import type { BlobSink } from '../../libs/engine/src/blob-sink.ts';
import { systemClock } from '../../libs/engine/src/clock.ts';
import { createRepository } from '../../libs/engine/src/create-repository.ts';
import { saveNamedFile } from '../../libs/engine/src/named-file.ts';
import { createPacker } from '../../libs/engine/src/packer.ts';
import type { Repository } from '../../libs/engine/src/repository.ts';
import { encodeFileMode } from '../../libs/restic-format/src/file-mode.ts';
import { snapshotName } from '../../libs/restic-format/src/layout.ts';
import type { TreeNode } from '../../libs/restic-format/src/node.ts';
import { hashOf } from '../../libs/restic-format/src/object-id.ts';
import { encodeSnapshotFile } from '../../libs/restic-format/src/snapshot-file.ts';
import { encodeTree } from '../../libs/restic-format/src/tree.ts';
import { openLocalStorage } from '../../libs/storage/src/local/local-storage.ts';

export const password = 'bench';

/** A repository of snapshots whose files are made up: trees, packs, index and snapshots are those of a backup, the content is not there. */
export class MadeSnapshots {
  readonly repository: Repository;
  readonly snapshotIds: string[] = [];
  readonly #index = createBlobIndex();
  readonly #signal: AbortSignal;
  #sink: BlobSink;

  static async create(path: string, signal: AbortSignal): Promise<MadeSnapshots> {
    return new MadeSnapshots(await createBenchRepository(path), signal);
  }

  private constructor(repository: Repository, signal: AbortSignal) {
    this.repository = repository;
    this.#signal = signal;
    this.#sink = this.#begin();
  }

  async saveTree(nodes: readonly TreeNode[]): Promise<string> {
    return (await this.#sink.save('tree', encodeTree(nodes))).id;
  }

  /** A snapshot as a backup ends with one: its trees are in packs of their own. */
  async commit(treeId: string): Promise<void> {
    await this.#sink.finish();
    this.#sink = this.#begin();
    const timeNs = startNs + BigInt(this.snapshotIds.length) * dayNs;
    const bytes = encodeSnapshotFile({ timeNs, tree: treeId, paths: ['/data'], hostname: 'bench' }, this.repository.cipher);
    this.snapshotIds.push(await saveNamedFile(this.repository, snapshotName, bytes, this.#signal));
  }

  #begin(): BlobSink {
    return createPacker({ repository: this.repository, index: this.#index, compression: 'auto', clock: systemClock, signal: this.#signal });
  }
}

/** Its key costs nothing to derive: that is not what is measured. */
export async function createBenchRepository(path: string): Promise<Repository> {
  await mkdir(path, { recursive: true });
  const storage = await openLocalStorage({ path });
  return await createRepository({ storage, password, hostname: 'bench', username: 'bench', kdf: { N: 1024, r: 1, p: 1 } });
}

const startNs = 1_700_000_000_000_000_000n;
const dayNs = 86_400_000_000_000n;

/** A file of one blob, whose id comes from what makes it different. */
export function madeFile(name: string, seed: string): TreeNode {
  return {
    ...madeNode(name),
    type: 'file',
    mode: encodeFileMode('file', 0o644),
    sizeBytes: 1000 + seed.length,
    content: [hashOf(Buffer.from(seed))],
  };
}

export function madeFolder(name: string, subtree: string): TreeNode {
  return { ...madeNode(name), type: 'dir', mode: encodeFileMode('dir', 0o755), content: null, subtree };
}

function madeNode(name: string) {
  const times = { modifiedNs: startNs, accessedNs: startNs, changedNs: startNs };
  return { name, ...times, uid: 1000, gid: 1000, user: 'bench', group: 'bench', inode: 1_234_567n, linkCount: 1n };
}
