import type { Claim } from '@holdfast/database/runs';
import type { RunKind } from '@holdfast/database/run-kinds';
import type { HoldfastError } from '@holdfast/errors/holdfast-error';

/** The runs that this process works on now, so that a heartbeat, a cancel request or a shutdown finds them. */
export interface RunsInHand {
  /** Takes note of a run; its signal aborts when somebody calls abort. `release` ends it. */
  add(claim: Claim): { signal: AbortSignal; release: () => void };
  has(kind: RunKind, id: string): boolean;
  claims(): Claim[];
  /** Aborts one run for `reason`; false when it is not in hand. The first reason stays. */
  abort(kind: RunKind, id: string, reason: HoldfastError): boolean;
  abortAll(reason: HoldfastError): void;
  /** Resolves when no run is in hand any more. */
  empty(): Promise<void>;
}

export function createRunsInHand(): RunsInHand {
  const runs = new Map<string, { claim: Claim; controller: AbortController }>();
  let waiting: (() => void)[] = [];

  return {
    add(claim) {
      const key = keyOf(claim.kind, claim.id);
      const entry = { claim, controller: new AbortController() };
      runs.set(key, entry);
      const release = (): void => {
        if (runs.get(key) === entry) runs.delete(key);
        if (runs.size > 0) return;
        for (const resolve of waiting) resolve();
        waiting = [];
      };
      return { signal: entry.controller.signal, release };
    },
    has: (kind, id) => runs.has(keyOf(kind, id)),
    claims: () => [...runs.values()].map((run) => run.claim),
    abort(kind, id, reason) {
      const run = runs.get(keyOf(kind, id));
      run?.controller.abort(reason);
      return run !== undefined;
    },
    abortAll(reason) {
      for (const run of runs.values()) run.controller.abort(reason);
    },
    async empty() {
      if (runs.size === 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.push(resolve);
      await promise;
    },
  };
}

function keyOf(kind: RunKind, id: string): string {
  return `${kind}:${id}`;
}
