import { heldError, holdUntil, type HoldingStorage, type ObjectHold } from '../hold.ts';
import type { Storage } from '../storage.ts';

/** The rule of a storage that holds objects: until when one of this name is held, `'for good'`, or undefined for one that is not. */
export type HoldRule = (name: string) => Date | 'for good' | undefined;

export interface HeldOptions {
  readonly rule: HoldRule;
  readonly now: () => Date;
  readonly tells?: boolean;
  readonly renewHold?: NonNullable<HoldingStorage['renewHold']>;
}

/**
 * Holds objects of another storage by a rule, and by a clock that a test sets: what a lock of a day would make wait for. What real servers
 * do is in the tests of the adapters. With `tells: false` only its delete says so, as of a storage whose options know of no lock.
 */
export function openHeldStorage(inner: Storage, { rule, now, tells = true, renewHold }: HeldOptions): Storage & Partial<HoldingStorage> {
  const holdOf = async (name: string): Promise<ObjectHold | undefined> => {
    const end = rule(name);
    return holdUntil(end === 'for good' ? undefined : end, end === 'for good', now());
  };
  return {
    location: inner.location,
    put: (name, bytes, options) => inner.put(name, bytes, options),
    get: (name, options) => inner.get(name, options),
    stat: (name, options) => inner.stat(name, options),
    list: (prefix, options) => inner.list(prefix, options),
    async delete(name, options) {
      const hold = await holdOf(name);
      if (hold !== undefined) throw heldError(name, inner.location, hold);
      await inner.delete(name, options);
    },
    close: () => inner.close(),
    ...(tells ? { holdOf } : {}),
    ...(renewHold === undefined ? {} : { renewHold }),
  };
}
