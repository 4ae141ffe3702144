import { setTimeout as sleep } from 'node:timers/promises';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { apiPrefix, unreachable, type ApiClientOptions } from './api-client.ts';
import { problemError } from './problem-error.ts';

export interface StreamEvent {
  /** The event's number in the log; undefined for progress, which is in no log. */
  readonly id: string | undefined;
  /** `state` or `progress`. */
  readonly type: string;
  /** JSON. */
  readonly data: string;
}

export interface EventStreamOptions extends ApiClientOptions {
  /** Below /events, such as `entityId=…`. */
  readonly query?: Readonly<Record<string, string>>;
  /** Starts behind this event of the log; from now on when not given. */
  readonly after?: string;
}

const firstReconnectMs = 250;
const maxReconnectMs = 5_000;
/** In a row, with no event between them: some half a minute. */
const maxFailures = 9;
/** The API sends a comment every 15 s; three of them missing is a dead connection that nobody told us about. */
const silenceMs = 45_000;

/**
 * The API's events, for as long as they are read: a lost connection is made again behind the last event seen, so that states are
 * neither lost nor repeated. Ends when `signal` is aborted; throws when the API refuses.
 */
export async function* readEventStream(options: EventStreamOptions): AsyncGenerator<StreamEvent, void, void> {
  let lastId = options.after;
  let failures = 0;
  while (options.signal?.aborted !== true) {
    try {
      const remember = (id: string): void => {
        lastId = id;
      };
      for await (const event of readConnection(options, lastId, remember)) {
        failures = 0;
        yield event;
      }
    } catch (error) {
      if (isAborted(options)) return;
      if (error instanceof Refusal) throw problemError(`GET ${apiPrefix}/events`, error.status, error.body);
      failures += 1;
      if (failures > maxFailures) throw unreachable(options.url, error);
    }
    const delayMs = Math.min(firstReconnectMs * 2 ** failures, maxReconnectMs);
    // Only the abort ends the sleep early, and the loop sees it.
    await sleep(delayMs, undefined, { signal: options.signal }).catch(() => undefined);
  }
}

class Refusal extends Error {
  readonly status: number;
  readonly body: string;
  constructor(status: number, body: string) {
    super(`refused with ${status}`);
    this.status = status;
    this.body = body;
  }
}

/** `onId` is told the place in the log also when it comes without an event. */
async function* readConnection(
  options: EventStreamOptions,
  lastId: string | undefined,
  onId: (id: string) => void,
): AsyncGenerator<StreamEvent, void, void> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(new Error('no sign of life')), silenceMs);
  try {
    const response = await fetch(`${options.url}${apiPrefix}/events?${new URLSearchParams(options.query ?? {}).toString()}`, {
      headers: {
        accept: 'text/event-stream',
        ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
        ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
      },
      signal: options.signal === undefined ? silence.signal : AbortSignal.any([options.signal, silence.signal]),
    });
    if (response.status >= 400 && response.status < 500) throw new Refusal(response.status, await response.text());
    if (!response.ok || response.body === null) throw new Error(`answered ${response.status}`);
    const events = response.body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream({ onId, onComment: () => void timer.refresh() }));
    for await (const event of events) {
      timer.refresh();
      yield { id: event.id, type: event.event ?? 'message', data: event.data };
    }
  } finally {
    clearTimeout(timer);
  }
}

function isAborted(options: EventStreamOptions): boolean {
  return options.signal?.aborted === true;
}
