import type { ObjectId } from '@holdfast/restic-format/object-id';
import { withAttributes, type StoredFile } from '../file-storer.ts';
import type { ArchiveEvent, GroupAnswer } from './archive-calls.ts';
import type { CallQueue } from './call-queue.ts';
import { idsOf } from './file-batches.ts';

interface FileInHand {
  readonly onBytes: (bytes: number) => void;
  readonly groups: Map<number, Promise<GroupAnswer>>;
}

/**
 * Large files. One thread cuts such a file and stores it; while others have time, it gives them groups of chunks, which they read
 * again through the same descriptor.
 */
export class LargeFiles {
  readonly #queue: CallQueue;
  readonly #files = new Map<number, FileInHand>();
  #fileCount = 0;

  constructor(queue: CallQueue) {
    this.#queue = queue;
  }

  async store(folder: string, name: string, onBytes: (bytes: number) => void): Promise<StoredFile> {
    const stored = await this.#storeOnce(folder, name, onBytes, true);
    // It became shorter between the cut and the reading of a group: read from one end to the other by one thread it is what it is then.
    return stored ?? (await this.#storeOnce(folder, name, () => {}, false)) ?? { kind: 'skipped', reason: 'it changes too fast' };
  }

  onGroup({ file, group, descriptor, cuts }: ArchiveEvent & { kind: 'group' }): void {
    const inHand = this.#files.get(file);
    if (inHand === undefined) return;
    const answer = this.#queue.call('group', { kind: 'group', descriptor, cuts });
    // Whoever puts the file together hears of it.
    answer.then(
      () => inHand.onBytes(bytesIn(cuts)),
      () => {},
    );
    inHand.groups.set(group, answer);
  }

  onBytes({ file, bytes }: ArchiveEvent & { kind: 'bytes' }): void {
    this.#files.get(file)?.onBytes(bytes);
  }

  /** Null when it has to be done again. */
  async #storeOnce(folder: string, name: string, onBytes: (bytes: number) => void, mayShare: boolean): Promise<StoredFile | null> {
    const file = ++this.#fileCount;
    const inHand: FileInHand = { onBytes, groups: new Map() };
    this.#files.set(file, inHand);
    try {
      const answer = await this.#queue.call('file', { kind: 'file', file, folder, name, mayShare });
      const groups = new Map<number, GroupAnswer>();
      for (const [group, promise] of inHand.groups) groups.set(group, await promise);
      if (answer.descriptor !== -1 && groups.size > 0) await this.#release(file);
      if (answer.kind === 'skipped') return { kind: 'skipped', reason: answer.reason };
      const content: ObjectId[] = [];
      for (const segment of answer.segments) {
        const group = typeof segment === 'number' ? groups.get(segment) : { ids: segment, isWhole: true };
        if (group?.isWhole !== true) return null;
        for (const id of idsOf(group.ids)) content.push(id);
      }
      return withAttributes({ kind: 'stored', content, sizeBytes: answer.sizeBytes }, answer.attributes);
    } finally {
      this.#files.delete(file);
    }
  }

  /** Every thread can close what one has opened, but only its own thread has it in its books. */
  async #release(file: number): Promise<void> {
    await this.#queue.callAll({ kind: 'release', file });
  }
}

function bytesIn(cuts: Float64Array): number {
  return (cuts.at(-2) ?? 0) + (cuts.at(-1) ?? 0) - (cuts[0] ?? 0);
}
