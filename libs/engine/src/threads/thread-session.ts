import type { Transferable } from 'node:worker_threads';
import type { ErrorMessage } from './thread-error.ts';

/**
 * A piece of work that runs in threads: one session in each of them, opened by the function `openThreadSession` of a module
 * that each thread imports. A session gets calls one after the other and may tell of events in between.
 */
export interface ThreadSession<Call = unknown> {
  /** The next call begins when this one's answer is there. What it throws goes to the caller as a HoldfastError. */
  handle(input: Call): Answer | Promise<Answer>;
  /** Gives back what the session holds, after its last call, also after an abort. */
  close(): void | Promise<void>;
}

/** An answer, and the buffers in it that go over without a copy. */
export interface Answer {
  readonly output: unknown;
  readonly transfer?: readonly Transferable[];
}

export interface SessionContext {
  /** Which of the session's threads this is, from 0. */
  readonly threadNumber: number;
  /** Throws when the work was given up. To be called wherever it may have taken a tenth of a second since the last time. */
  throwIfAborted(): void;
  emit(event: unknown): void;
}

/** What a thread module exports as `openThreadSession`. `data` is what the opener gave: only what a structured clone keeps. */
export type OpenThreadSession<Data = unknown, Call = unknown> = (
  data: Data,
  context: SessionContext,
) => ThreadSession<Call> | Promise<ThreadSession<Call>>;

/** What a thread is started with. */
export interface ThreadStart {
  readonly lowPriority: boolean;
}

/** To a thread. Sessions and calls are numbered by the pool. */
export type ThreadRequest =
  /** Imports a module that a session is soon to be opened with. */
  | { readonly kind: 'load'; readonly module: string }
  | {
      readonly kind: 'open';
      readonly session: number;
      /** The module's URL. */
      readonly module: string;
      readonly threadNumber: number;
      /** One Int32: not 0 when the work is given up. */
      readonly abortFlag: SharedArrayBuffer;
      readonly data: unknown;
    }
  | { readonly kind: 'call'; readonly session: number; readonly call: number; readonly input: unknown }
  | { readonly kind: 'close'; readonly session: number; readonly call: number };

/** From a thread. */
export type ThreadReply =
  | { readonly kind: 'answer'; readonly call: number; readonly output: unknown }
  | { readonly kind: 'failure'; readonly call: number; readonly error: ErrorMessage }
  | { readonly kind: 'event'; readonly session: number; readonly event: unknown };
