import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Snapshot } from './snapshots.ts';

/**
 * Snapshots that were read before. A snapshot's file never changes, since its name is its hash: which of them are there is for the
 * storage to say each time, what is in them is not.
 */
export interface KnownSnapshots {
  get(id: ObjectId): Snapshot | undefined;
  add(snapshot: Snapshot): void;
  /** Drops all that are not among `ids`. */
  keepOnly(ids: ReadonlySet<ObjectId>): void;
  readonly heldBytes: number;
}

/** Of one repository. Beyond it snapshots are read each time. */
const maxKnownBytes = 4 * 1024 * 1024;
/** A snapshot without its lists: numbers, ids and the objects that hold them. */
const baseHeldBytes = 1024;

export function createKnownSnapshots(): KnownSnapshots {
  return new SnapshotMap();
}

class SnapshotMap implements KnownSnapshots {
  heldBytes = 0;
  readonly #snapshots = new Map<ObjectId, Snapshot>();

  get(id: ObjectId): Snapshot | undefined {
    return this.#snapshots.get(id);
  }

  add(snapshot: Snapshot): void {
    const bytes = heldBytesOf(snapshot);
    if (this.#snapshots.has(snapshot.id) || this.heldBytes + bytes > maxKnownBytes) return;
    this.#snapshots.set(snapshot.id, snapshot);
    this.heldBytes += bytes;
  }

  keepOnly(ids: ReadonlySet<ObjectId>): void {
    for (const [id, snapshot] of this.#snapshots) {
      if (ids.has(id)) continue;
      this.#snapshots.delete(id);
      this.heldBytes -= heldBytesOf(snapshot);
    }
  }
}

function heldBytesOf({ paths, tags = [], excludes = [] }: Snapshot): number {
  // Two bytes a character, and some for each string by itself.
  return [...paths, ...tags, ...excludes].reduce((sum, text) => sum + text.length * 2 + 32, baseHeldBytes);
}
