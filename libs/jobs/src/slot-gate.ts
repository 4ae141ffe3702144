/**
 * A bound on work in hand that several queues have in common. Whoever wants a slot waits for it in the order of asking, so that a queue
 * that is never empty leaves the others their turn.
 */
export interface SlotGate {
  /** Takes a slot when one is free and nobody waits for it. */
  tryAcquire(): boolean;
  /** Waits for a slot; false when the signal aborts first, and nothing is taken then. */
  acquire(signal: AbortSignal): Promise<boolean>;
  /** Gives a slot back: to the one who has waited longest. */
  release(): void;
}

export function createSlotGate(slotCount: number): SlotGate {
  let freeCount = slotCount;
  const waiting = new Set<() => void>();

  const tryAcquire = (): boolean => {
    if (freeCount === 0) return false;
    freeCount--;
    return true;
  };
  return {
    tryAcquire,
    async acquire(signal) {
      if (signal.aborted) return false;
      if (tryAcquire()) return true;
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const take = (): void => resolve(true);
      const giveUp = (): void => {
        // A slot that was handed over already is theirs, and they give it back.
        if (waiting.delete(take)) resolve(false);
      };
      waiting.add(take);
      signal.addEventListener('abort', giveUp, { once: true });
      try {
        return await promise;
      } finally {
        signal.removeEventListener('abort', giveUp);
      }
    },
    release() {
      const [next] = waiting;
      if (next === undefined) {
        freeCount++;
        return;
      }
      waiting.delete(next);
      next();
    },
  };
}
