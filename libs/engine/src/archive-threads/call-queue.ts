import type { Transferable } from 'node:worker_threads';
import type { ThreadGroup } from '../threads/thread-group.ts';
import type { ArchiveCall, BatchAnswer, ChunksAnswer, FileAnswer, GroupAnswer, PackRest } from './archive-calls.ts';

/** Calls that a thread has at once: one that runs and one that is next, so that it never waits for the leading thread. */
const maxCallsPerThread = 2;

interface QueuedCall {
  readonly call: ArchiveCall;
  readonly answer: PromiseWithResolvers<unknown>;
  /** Of the call, what goes over without a copy. */
  readonly transfer: readonly Transferable[];
}

type CallKind = 'group' | 'chunks' | 'trees' | 'batch' | 'file';

/** Deals calls out to threads that have time for them. */
export class CallQueue {
  readonly #group: ThreadGroup;
  readonly #onIdle: () => void;
  /** Parts of a file that somebody has in hand go first, then trees, small files, and large files that nobody has begun. */
  readonly #waiting: Record<CallKind, QueuedCall[]> = { group: [], chunks: [], trees: [], batch: [], file: [] };
  readonly #threads: { pending: number; hasFile: boolean }[];
  #inHandCount = 0;

  /** `onIdle` is called when a thread could take more than there is. */
  constructor(group: ThreadGroup, onIdle: () => void) {
    this.#group = group;
    this.#onIdle = onIdle;
    this.#threads = Array.from({ length: group.threadCount }, () => ({ pending: 0, hasFile: false }));
  }

  /** Calls that no thread has yet. */
  get waitingCount(): number {
    const { group, chunks, trees, batch, file } = this.#waiting;
    return group.length + chunks.length + trees.length + batch.length + file.length;
  }

  get isEmpty(): boolean {
    return this.#inHandCount === 0 && this.waitingCount === 0;
  }

  /** How many more calls the threads could take at once, beyond what waits. */
  get roomCount(): number {
    const places = this.#threads.reduce((sum, { pending, hasFile }) => sum + (hasFile ? 0 : maxCallsPerThread - pending), 0);
    return places - this.waitingCount;
  }

  /** Hands the call to the first thread that has time for it. */
  call(kind: 'batch', call: ArchiveCall & { kind: 'batch' }): Promise<BatchAnswer>;
  call(kind: 'file', call: ArchiveCall & { kind: 'file' }): Promise<FileAnswer>;
  call(kind: 'group', call: ArchiveCall & { kind: 'group' }): Promise<GroupAnswer>;
  call(kind: 'chunks', call: ArchiveCall & { kind: 'chunks' }, transfer: readonly Transferable[]): Promise<ChunksAnswer>;
  call(kind: 'trees', call: ArchiveCall & { kind: 'trees' }): Promise<unknown>;
  async call(kind: CallKind, call: ArchiveCall, transfer: readonly Transferable[] = []): Promise<unknown> {
    const answer = Promise.withResolvers<unknown>();
    this.#waiting[kind].push({ call, answer, transfer });
    this.deal();
    return await answer.promise;
  }

  /** Hands the call to every thread, after those that it has. */
  callAll(call: ArchiveCall & { kind: 'finish' }): Promise<PackRest[][]>;
  callAll(call: ArchiveCall & { kind: 'release' }): Promise<unknown>;
  async callAll(call: ArchiveCall): Promise<unknown> {
    return await this.#group.callAll(call);
  }

  /** Hands out what waits, and asks for more where there is room. */
  deal(): void {
    while (this.#dealOne());
    if (this.roomCount > 0) this.#onIdle();
  }

  #dealOne(): boolean {
    const number = this.#leastBusy();
    const thread = this.#threads[number];
    if (thread === undefined) return false;
    const { group, chunks, trees, batch, file } = this.#waiting;
    const queued = group.shift() ?? chunks.shift() ?? trees.shift() ?? batch.shift();
    if (queued !== undefined) void this.#run(number, queued, false);
    else if (thread.pending === 0 && file.length > 0) {
      const large = file.shift();
      if (large !== undefined) void this.#run(number, large, true);
    } else return false;
    return true;
  }

  /** A thread with a large file in hand gets nothing else: that might wait for hours. */
  #leastBusy(): number {
    let best = -1;
    for (const [number, { pending, hasFile }] of this.#threads.entries()) {
      if (hasFile || pending >= maxCallsPerThread) continue;
      if (best === -1 || pending < (this.#threads[best]?.pending ?? 0)) best = number;
    }
    return best;
  }

  async #run(number: number, { call, answer, transfer }: QueuedCall, hasFile: boolean): Promise<void> {
    const thread = this.#threads[number];
    if (thread === undefined) return;
    thread.pending++;
    thread.hasFile = hasFile;
    this.#inHandCount++;
    try {
      answer.resolve(await this.#group.call(number, call, transfer));
    } catch (error) {
      answer.reject(error);
    } finally {
      thread.pending--;
      if (hasFile) thread.hasFile = false;
      this.#inHandCount--;
      this.deal();
    }
  }
}
