import type { ObjectId } from '@holdfast/restic-format/object-id';
import { untilAborted } from '@holdfast/storage/until-aborted';
import type { Repository } from '../repository.ts';
import { loadSnapshot } from '../snapshots.ts';

/** What browsing needs of a snapshot. */
export interface SnapshotTop {
  readonly treeId: ObjectId;
  readonly timeNs: bigint;
}

/** A snapshot is 200 bytes here: 2 MB at most. */
const maxHeldTops = 10_000;

/** The tops of snapshots. What is in a snapshot never changes, so that it is read once; whether it is still there is asked when something of it is missing. */
export class SnapshotTops {
  readonly #repository: Repository;
  readonly #closed: AbortSignal;
  readonly #tops = new Map<ObjectId, SnapshotTop>();

  constructor(repository: Repository, closed: AbortSignal) {
    this.#repository = repository;
    this.#closed = closed;
  }

  /** Errors: snapshot_missing, repository_damaged, those of the storage. */
  async get(id: ObjectId, signal: AbortSignal): Promise<SnapshotTop> {
    signal.throwIfAborted();
    const known = this.#tops.get(id);
    if (known !== undefined) return known;
    const read = this.#repository.knownSnapshots?.get(id);
    return read === undefined ? await this.getAnew(id, signal) : { treeId: read.tree, timeNs: read.timeNs };
  }

  /** As `get`, from the storage. */
  async getAnew(id: ObjectId, signal: AbortSignal): Promise<SnapshotTop> {
    this.#tops.delete(id);
    const { tree, timeNs } = await untilAborted(loadSnapshot(this.#repository, id, { signal: this.#closed }), signal);
    const top = { treeId: tree, timeNs };
    this.#tops.set(id, top);
    for (const oldest of this.#tops.keys()) {
      if (this.#tops.size <= maxHeldTops) break;
      this.#tops.delete(oldest);
    }
    return top;
  }
}
