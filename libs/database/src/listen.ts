import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { connectionConfig } from './connection-config.ts';
import { translateDatabaseError } from './database-error.ts';

/** Pauses between attempts to come back: quick at first, for a restarted server, then sparing. */
const firstPauseMs = 50;
const longestPauseMs = 5_000;

/** A silent connection is asked this often whether it still lives: a peer that vanished sends no reset. */
const probeIntervalMs = 15_000;
const probeTimeoutMs = 5_000;

export interface Notification {
  /** Null after a reconnection: notifications may have been missed, look at everything. */
  readonly channel: string | null;
  readonly payload: string;
}

export interface ListenOptions {
  /** Told of each lost or refused connection (as `database_unreachable`), which is then tried again. */
  readonly onError: (error: unknown) => void;
  /** Ends the listening as close does. */
  readonly signal?: AbortSignal | undefined;
}

export interface Listener extends AsyncDisposable {
  /** Resolves when the channels are first listened to. */
  readonly ready: Promise<void>;
  close(): Promise<void>;
}

/**
 * Listens to channels on a connection of its own, and comes back whenever that is lost. `onNotification` is called once with
 * channel null after each time that it came back, so that nothing is missed by whoever then reads the rows; it must not throw.
 */
export function listen(
  url: string,
  channels: readonly string[],
  onNotification: (notification: Notification) => void,
  options: ListenOptions,
): Listener {
  const stopping = new AbortController();
  const signal = options.signal === undefined ? stopping.signal : AbortSignal.any([stopping.signal, options.signal]);
  const ready = Promise.withResolvers<void>();
  const running = keepListening(url, channels, onNotification, options.onError, signal, ready.resolve);
  const close = async (): Promise<void> => {
    stopping.abort();
    await running;
  };
  return { ready: ready.promise, close, [Symbol.asyncDispose]: close };
}

async function keepListening(
  url: string,
  channels: readonly string[],
  onNotification: (notification: Notification) => void,
  onError: (error: unknown) => void,
  signal: AbortSignal,
  onReady: () => void,
): Promise<void> {
  let pauseMs = firstPauseMs;
  for (let isFirst = true; !signal.aborted;) {
    try {
      await listenOnce(url, channels, onNotification, signal, () => {
        pauseMs = firstPauseMs;
        if (!isFirst) onNotification({ channel: null, payload: '' });
        isFirst = false;
        onReady();
      });
    } catch (error) {
      onError(translateDatabaseError(error));
      await pause(pauseMs, signal);
      pauseMs = Math.min(pauseMs * 2, longestPauseMs);
    }
  }
  // Nobody waits for a beginning that will not come.
  onReady();
}

/** Returns when `signal` is aborted, throws when the connection is lost. */
async function listenOnce(
  url: string,
  channels: readonly string[],
  onNotification: (notification: Notification) => void,
  signal: AbortSignal,
  onListening: () => void,
): Promise<void> {
  const limits = { connectionTimeoutMillis: probeTimeoutMs, query_timeout: probeTimeoutMs };
  const client = new pg.Client({ ...connectionConfig(url, 'holdfast-listen'), ...limits });
  const ended = Promise.withResolvers<void>();
  // The promise may be rejected before anybody awaits it, while still connecting.
  ended.promise.catch(() => undefined);
  client.on('error', ended.reject);
  client.on('end', () => ended.reject(new Error('connection terminated')));
  client.on('notification', ({ channel, payload }) => onNotification({ channel, payload: payload ?? '' }));
  const stop = (): void => ended.resolve();
  signal.addEventListener('abort', stop, { once: true });
  const probing = new AbortController();
  try {
    await Promise.race([client.connect(), ended.promise]);
    if (signal.aborted) return;
    for (const channel of channels) await client.query(`LISTEN ${client.escapeIdentifier(channel)}`);
    onListening();
    await Promise.race([ended.promise, probe(client, probing.signal)]);
  } finally {
    probing.abort();
    signal.removeEventListener('abort', stop);
    await endQuietly(client);
  }
}

/** Throws when the server no longer answers; returns when `signal` is aborted. */
async function probe(client: pg.Client, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await pause(probeIntervalMs, signal);
    if (!signal.aborted) await client.query('SELECT 1');
  }
}

async function endQuietly(client: pg.Client): Promise<void> {
  const closed = client.end().catch(() => undefined);
  await Promise.race([closed, delay(probeTimeoutMs, undefined, { ref: false })]);
}

async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  // An aborted pause is an ended one.
  await delay(durationMs, undefined, { signal }).catch(() => undefined);
}
