import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { CallOptions, Storage } from './storage.ts';

/** What keeps an object from being deleted, by anybody: an object lock, a time of retention, a legal hold. */
export interface ObjectHold {
  /** When it may be deleted; null where nobody knows, as with a legal hold. */
  readonly freeAt: Date | null;
}

/** A storage whose options have it hold objects. Its `delete` refuses those that are held with storage_object_held. */
export interface HoldingStorage {
  /**
   * What holds an object now; undefined where nothing does, and for one that is not there.
   * Errors: storage_denied, storage_unreachable.
   */
  holdOf(name: string, options?: CallOptions): Promise<ObjectHold | undefined>;
  /**
   * Holds an object anew, from now on, when less than half of its time is left or it was never held; says whether it did. Absent where the
   * options do not ask for it. Errors: storage_object_missing, storage_denied, storage_unreachable.
   */
  readonly renewHold?: (name: string, options?: CallOptions) => Promise<boolean>;
}

/** Whether a storage holds objects, and can tell of each. */
export function isHolding(storage: Storage): storage is Storage & HoldingStorage {
  return 'holdOf' in storage && typeof storage.holdOf === 'function';
}

/** A hold is one until its end has passed by our clock; a server whose clock is behind refuses for itself. */
export function holdUntil(end: Date | undefined, isHeldForGood: boolean, now: Date): ObjectHold | undefined {
  if (isHeldForGood) return { freeAt: null };
  return end !== undefined && end > now ? { freeAt: end } : undefined;
}

/** What `delete` of a held object throws. */
export function heldError(name: string, location: string, { freeAt }: ObjectHold, serverCode?: string): HoldfastError {
  const until = freeAt === null ? 'until somebody releases it at the storage' : `until ${freeAt.toISOString()}`;
  return new HoldfastError('storage_object_held', `${name} at ${location} is held ${until}`, {
    context: { object: name, location, freeAt: freeAt?.toISOString() ?? null, ...(serverCode === undefined ? {} : { serverCode }) },
  });
}
