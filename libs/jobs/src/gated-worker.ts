import { Worker, type Job } from 'bullmq';
import type { SlotGate } from './slot-gate.ts';

/**
 * A BullMQ worker that takes a job only while it holds a slot of a gate, which it shares with the workers of other queues. BullMQ bounds
 * the jobs of one Worker object and has no bound for several. The slot is taken before the job, so what this process has no room for
 * stays on its queue, where another process may have it; and no job is fetched together with the end of another one, so that the slot
 * goes round.
 */
export class GatedWorker<Data, Result> extends Worker<Data, Result> {
  readonly #stopping = new AbortController();
  /** Undefined for no bound but the worker's own. */
  #gate: SlotGate | undefined;
  /** Jobs that were taken and are not begun: BullMQ may look for a second one first. */
  #takenCount = 0;

  /** To be called before `run()`. */
  shareSlots(gate: SlotGate): this {
    this.#gate = gate;
    return this;
  }

  protected override async moveToActive(token: string, name?: string): Promise<Job<Data, Result>> {
    const gate = this.#gate;
    if (gate === undefined) return super.moveToActive(token, name);
    // A job in hand that waits for this answer must not wait for a slot: none is told as an empty queue is.
    const hasSlot = this.#takenCount > 0 ? gate.tryAcquire() : await gate.acquire(this.#stopping.signal);
    if (!hasSlot) return noJob<Data, Result>();
    let job: Job<Data, Result> | undefined;
    try {
      job = await super.moveToActive(token, name);
    } finally {
      if (job === undefined) gate.release();
      else this.#takenCount++;
    }
    return job;
  }

  override async processJob(job: Job<Data, Result>, token: string, fetchNextCallback?: () => boolean): Promise<void | Job<Data, Result>> {
    const gate = this.#gate;
    if (gate === undefined) return super.processJob(job, token, fetchNextCallback);
    this.#takenCount--;
    try {
      return await super.processJob(job, token, () => false);
    } finally {
      gate.release();
    }
  }

  override async close(force?: boolean): Promise<void> {
    this.#stopping.abort();
    await super.close(force);
  }
}

/** What BullMQ itself answers when there is none, whatever its type says. */
function noJob<Data, Result>(): Job<Data, Result> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return undefined as unknown as Job<Data, Result>;
}
