import { HoldfastError, asHoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { getCompileCacheDir } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { Worker, type Transferable } from 'node:worker_threads';
import { decodeError } from './thread-error.ts';
import { openThreadGroup, type GroupOptions, type ThreadGroup } from './thread-group.ts';
import type { ThreadReply, ThreadRequest, ThreadStart } from './thread-session.ts';

export interface ThreadPoolOptions {
  /** By default one a core. */
  readonly concurrency?: number;
  /** The threads yield the processor to all others of the machine; Linux only, without effect elsewhere. Default false. */
  readonly lowPriority?: boolean;
}

/**
 * Threads that wait for work. They start with the first piece of work and stay until the pool is closed, so a process that has
 * many pieces to do keeps one pool. Several pieces may use it at once.
 */
export interface ThreadPool extends AsyncDisposable {
  readonly concurrency: number;
  /** Starts the threads and has them load a module, for a group that is opened soon. */
  warm(module: URL): void;
  /** Opens a session in every thread (see ThreadSession); the group is the caller's to close. */
  openGroup<Event = unknown>(options: GroupOptions<Event>): ThreadGroup;
  /** Ends the threads; groups that are still open fail. Calling it twice is no error. */
  close(): Promise<void>;
}

/** More would only cost memory. */
const maxThreads = 64;

/**
 * Memory of a thread's JavaScript heap. What threads work on lies outside of it, and what they leave behind is short-lived: a
 * small nursery keeps the process small.
 */
const resourceLimits = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 512 };

/**
 * Threads keep their compiled code where the process keeps its own, if it does. Node passes that on by the environment alone. Without it
 * each thread strips the types of its modules anew, which costs it 0.15 s of processor time and 30 MB.
 */
function threadEnvironment(): NodeJS.ProcessEnv {
  const folder = getCompileCacheDir();
  // What Node tells is the folder of its own version, below the one that it was given.
  return folder === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: dirname(folder) };
}

export function openThreadPool(options: ThreadPoolOptions = {}): ThreadPool {
  const { concurrency = availableParallelism(), lowPriority = false } = options;
  return new WorkerPool(Math.max(1, Math.min(concurrency, maxThreads)), { lowPriority });
}

/** One thread and the calls that it has not answered. */
export interface PoolThread {
  readonly number: number;
  readonly pendingCount: number;
  post(request: ThreadRequest, transfer?: readonly Transferable[]): void;
  /** Rejects when the call fails, or the thread ends before it has answered. */
  call(request: CallRequest, transfer?: readonly Transferable[]): Promise<unknown>;
  onEvent(session: number, listener: ((event: unknown) => void) | undefined): void;
  terminate(): Promise<void>;
}

type CallRequest = { readonly session: number } & ({ readonly kind: 'call'; readonly input: unknown } | { readonly kind: 'close' });

class WorkerPool implements ThreadPool {
  readonly concurrency: number;
  readonly #threadStart: ThreadStart;
  #threads: (WorkerThread | undefined)[] = [];
  #sessionCount = 0;
  #isClosed = false;

  constructor(concurrency: number, threadStart: ThreadStart) {
    this.concurrency = concurrency;
    this.#threadStart = threadStart;
  }

  warm(module: URL): void {
    for (const thread of this.#start()) thread.post({ kind: 'load', module: module.href });
  }

  openGroup(options: GroupOptions): ThreadGroup {
    return openThreadGroup(this.#start(), ++this.#sessionCount, options);
  }

  #start(): PoolThread[] {
    invariant(!this.#isClosed, 'the thread pool is closed');
    const threads: PoolThread[] = [];
    for (let number = 0; number < this.concurrency; number++) {
      let thread = this.#threads[number];
      // One that has ended (out of memory, given up on) is replaced.
      if (thread === undefined || thread.hasEnded) thread = this.#threads[number] = new WorkerThread(number, this.#threadStart);
      threads.push(thread);
    }
    return threads;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const threads = this.#threads;
    this.#threads = [];
    await Promise.all(threads.filter((thread) => thread !== undefined).map((thread) => thread.terminate()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

let callCount = 0;

class WorkerThread implements PoolThread {
  readonly number: number;
  hasEnded = false;
  readonly #worker: Worker;
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #listeners = new Map<number, (event: unknown) => void>();

  constructor(number: number, start: ThreadStart) {
    this.number = number;
    const options = { resourceLimits, workerData: start, env: threadEnvironment(), name: `holdfast-${number}` };
    this.#worker = new Worker(new URL('thread-main.ts', import.meta.url), options);
    this.#worker.on('message', (reply: ThreadReply) => this.#onReply(reply));
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(new HoldfastError('internal', 'a thread has ended')));
    // An idle pool that its owner forgot does not keep the process alive; a call that waits does.
    this.#worker.unref();
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  post(request: ThreadRequest, transfer: readonly Transferable[] = []): void {
    this.#worker.postMessage(request, [...transfer]);
  }

  async call(request: CallRequest, transfer?: readonly Transferable[]): Promise<unknown> {
    if (this.hasEnded) throw new HoldfastError('internal', 'a thread has ended');
    const call = ++callCount;
    const answer = Promise.withResolvers<unknown>();
    this.post({ ...request, call }, transfer);
    if (this.#pending.size === 0) this.#worker.ref();
    this.#pending.set(call, answer);
    return await answer.promise;
  }

  onEvent(session: number, listener: ((event: unknown) => void) | undefined): void {
    if (listener === undefined) this.#listeners.delete(session);
    else this.#listeners.set(session, listener);
  }

  async terminate(): Promise<void> {
    this.#fail(new HoldfastError('internal', 'a thread was ended'));
    await this.#worker.terminate();
  }

  #onReply(reply: ThreadReply): void {
    if (reply.kind === 'event') {
      this.#listeners.get(reply.session)?.(reply.event);
      return;
    }
    const answer = this.#pending.get(reply.call);
    this.#pending.delete(reply.call);
    if (this.#pending.size === 0) this.#worker.unref();
    if (reply.kind === 'answer') answer?.resolve(reply.output);
    else answer?.reject(decodeError(reply.error));
  }

  #fail(error: unknown): void {
    this.hasEnded = true;
    for (const answer of this.#pending.values()) answer.reject(asHoldfastError(error));
    this.#pending.clear();
  }
}
