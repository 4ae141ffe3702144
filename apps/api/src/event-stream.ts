import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { LoggedEvent } from '@holdfast/database/events';
import type { Scope } from '@holdfast/database/scope';
import type { ProgressEvent } from '@holdfast/jobs/progress-events';
import type { EventFeed, Subscriber } from './event-feed.ts';

/**
 * One reader of server-sent events:
 *
 *     id: 42                               a fact of the log: resume after it with the header Last-Event-ID
 *     event: state
 *     data: {"sequence":42,"type":"backup.completed","subjectKind":"backup","subjectId":"…","businessEntityId":"…","data":{…},"createdAt":"…"}
 *
 *     event: progress                      no id: it may be lost and is not repeated
 *     data: {"subjectKind":"backup","subjectId":"…","businessEntityId":"…","progress":{…}}
 */
export interface StreamOptions {
  readonly scope: Scope;
  readonly subjectId: string | undefined;
  readonly after: bigint | undefined;
  /** Milliseconds until the token ends, and the stream with it. */
  readonly remainingMs: number | undefined;
}

const keepAliveMs = 15_000;
/** What a browser waits before it comes back. */
const reconnectMs = 2_000;
/** So much may wait for a slow reader; beyond it the reader is cut off, and resumes where it was. */
const bufferMaxBytes = 256 * 1024;
/** A reader that takes nothing for so long during a replay is gone. */
const drainTimeoutMs = 30_000;
/** A reader that does not take the last bytes is not waited for longer. */
const farewellMs = 1_000;
/** setTimeout's own limit. */
const timerMaxMs = 2 ** 31 - 1;

/** Serves a reader until it leaves, is too slow, its token ends or the feed closes. The response's head is sent already. */
export function serveEventStream(response: ServerResponse, feed: EventFeed, options: StreamOptions): void {
  const stop = new AbortController();
  const cutOff = (): void => {
    stop.abort();
    response.destroy();
  };
  const write = (text: string): void => {
    if (stop.signal.aborted) return;
    response.write(text);
    if (response.writableLength > bufferMaxBytes) cutOff();
  };

  const subscriber: Subscriber = {
    scope: options.scope,
    subjectId: options.subjectId,
    onEvent: (event) => write(stateBlock(event)),
    async ready() {
      if (!response.writableNeedDrain) return;
      try {
        await once(response, 'drain', { signal: AbortSignal.any([stop.signal, AbortSignal.timeout(drainTimeoutMs)]) });
      } catch {
        cutOff();
      }
    },
    onProgress(progress, businessEntityId) {
      // Eyes get the next value; what they have not yet read is not followed by older news.
      if (!response.writableNeedDrain) write(progressBlock(progress, businessEntityId));
    },
    // The place in the log, so that a reader that breaks off before its first event resumes without a gap.
    onLive: (sequence) => write(`id: ${sequence}\n\n`),
    onEnd() {
      stop.abort();
      response.end();
      setTimeout(() => response.destroy(), farewellMs).unref();
    },
  };

  write(`retry: ${reconnectMs}\n: connected\n\n`);
  const keepAlive = setInterval(() => write(': keep-alive\n\n'), keepAliveMs);
  const expiry =
    options.remainingMs === undefined ? undefined : setTimeout(() => subscriber.onEnd(), Math.min(options.remainingMs, timerMaxMs));
  const unsubscribe = feed.subscribe(subscriber, options.after);
  response.once('close', () => {
    stop.abort();
    clearInterval(keepAlive);
    clearTimeout(expiry);
    unsubscribe();
  });
  // A reader that vanished in the middle of a write is a reader that left.
  response.on('error', () => undefined);
}

function stateBlock(event: LoggedEvent): string {
  const { sequence, type, subjectKind, subjectId, businessEntityId, data, createdAt } = event;
  const fact = { sequence: Number(sequence), type, subjectKind, subjectId, businessEntityId, data, createdAt: createdAt.toISOString() };
  return `id: ${sequence}\nevent: state\ndata: ${JSON.stringify(fact)}\n\n`;
}

function progressBlock({ kind, id, progress }: ProgressEvent, businessEntityId: string): string {
  return `event: progress\ndata: ${JSON.stringify({ subjectKind: kind, subjectId: id, businessEntityId, progress })}\n\n`;
}
