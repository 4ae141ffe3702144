import { isHolding, type ObjectHold } from '@holdfast/storage/hold';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { CallOptions, Storage } from '@holdfast/storage/storage';
import { forEachConcurrently } from './slots.ts';

/** What a run would have removed and may not yet; it stays as it is, and a later run takes it. Plain data, for a result. */
export interface HeldObjects {
  readonly snapshotCount: number;
  readonly indexFileCount: number;
  readonly packCount: number;
  /** What would be free without them. */
  readonly bytes: number;
  /** When the first of them and the last may go, as ISO dates; null when that is known of none. */
  readonly firstFreeAt: string | null;
  readonly lastFreeAt: string | null;
  /** Of how many nobody knows, as under a legal hold. */
  readonly endUnknownCount: number;
}

type Kind = 'snapshot' | 'indexFile' | 'pack';

/** Counts what is held, each object once. */
export class HeldTally {
  readonly #holds = new Map<string, { readonly kind: Kind; readonly bytes: number; readonly freeAt: Date | null }>();

  add(name: string, kind: Kind, bytes: number, { freeAt }: ObjectHold): void {
    this.#holds.set(name, { kind, bytes, freeAt });
  }

  /** Undefined when nothing is held. */
  summary(): HeldObjects | undefined {
    const holds = [...this.#holds.values()];
    if (holds.length === 0) return undefined;
    const ends = holds.flatMap(({ freeAt }) => (freeAt === null ? [] : [freeAt.toISOString()])).toSorted();
    const countOf = (kind: Kind): number => holds.filter((hold) => hold.kind === kind).length;
    return {
      snapshotCount: countOf('snapshot'),
      indexFileCount: countOf('indexFile'),
      packCount: countOf('pack'),
      bytes: holds.reduce((sum, { bytes }) => sum + bytes, 0),
      firstFreeAt: ends[0] ?? null,
      lastFreeAt: ends.at(-1) ?? null,
      endUnknownCount: holds.length - ends.length,
    };
  }
}

/** What two of them hold together; neither counts what the other one does. */
export function joinHeld(a: HeldObjects | undefined, b: HeldObjects | undefined): HeldObjects | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const firsts = [a.firstFreeAt, b.firstFreeAt].filter((end) => end !== null).toSorted();
  const lasts = [a.lastFreeAt, b.lastFreeAt].filter((end) => end !== null).toSorted();
  return {
    snapshotCount: a.snapshotCount + b.snapshotCount,
    indexFileCount: a.indexFileCount + b.indexFileCount,
    packCount: a.packCount + b.packCount,
    bytes: a.bytes + b.bytes,
    firstFreeAt: firsts[0] ?? null,
    lastFreeAt: lasts.at(-1) ?? null,
    endUnknownCount: a.endUnknownCount + b.endUnknownCount,
  };
}

/** Of two holds on one object the one that ends later; one without a known end is the latest. */
export function laterHold(a: ObjectHold | undefined, b: ObjectHold): ObjectHold {
  if (a === undefined || a.freeAt === null) return a ?? b;
  return b.freeAt === null || b.freeAt > a.freeAt ? b : a;
}

/** A question each; enough at once to hide a network's latency. */
const concurrentQuestions = 16;

/** What holds each of these objects; empty at a storage whose options have it hold none. Errors: those of the storage. */
export async function findHolds(
  storage: Storage,
  names: Iterable<string>,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, ObjectHold>> {
  const holds = new Map<string, ObjectHold>();
  if (!isHolding(storage)) return holds;
  await forEachConcurrently(names, concurrentQuestions, async (name) => {
    const hold = await storage.holdOf(name, signal === undefined ? {} : { signal });
    if (hold !== undefined) holds.set(name, hold);
  });
  return holds;
}

/** Holds objects anew where the storage's options ask for it; returns how many had too little time left. Errors: those of the storage. */
export async function renewHolds(
  storage: Storage,
  names: () => Promise<Iterable<string>>,
  signal: AbortSignal | undefined,
): Promise<number> {
  const renew = isHolding(storage) ? storage.renewHold : undefined;
  let renewedCount = 0;
  if (renew === undefined) return renewedCount;
  await forEachConcurrently(await names(), concurrentQuestions, async (name) => {
    if (await renew(name, signal === undefined ? {} : { signal })) renewedCount += 1;
  });
  return renewedCount;
}

/** Deletes an object, or tells what holds it. Errors: those of the storage but storage_object_held. */
export async function deleteUnlessHeld(storage: Storage, name: string, options: CallOptions): Promise<ObjectHold | undefined> {
  try {
    await storage.delete(name, options);
    return undefined;
  } catch (error) {
    if (!isHoldfastError(error, 'storage_object_held')) throw error;
    const { freeAt } = error.context;
    return { freeAt: typeof freeAt === 'string' ? new Date(freeAt) : null };
  }
}
