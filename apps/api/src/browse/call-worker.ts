import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { signRequest, type BrowseKey } from '@holdfast/jobs/browse/request-signature';

/** One call of a worker's browse server: signed, over a connection of its own, so that one which the worker has just closed is never used. */
export interface WorkerCall {
  /** Scheme, name and port. */
  readonly url: string;
  readonly method: 'GET' | 'HEAD';
  /** Path and query. */
  readonly target: string;
  readonly signal: AbortSignal;
}

/** A worker on the same network takes a connection within milliseconds; one that is gone without a word must not hold up the next. */
const connectTimeoutMs = 3_000;
/** The first look into a repository reads its index, which takes long at a server far away. */
const headTimeoutMs = 60_000;
/** A worker that sends nothing for so long, although we would take it, is gone. */
const silentMs = 60_000;

/**
 * Gives the head of the worker's answer; its body is to be read or destroyed. Throws worker_unreachable when no answer comes. A connection that
 * breaks later fails the body. Aborts with the signal's reason.
 */
export async function callWorker({ url, method, target, signal }: WorkerCall, key: BrowseKey, now: Date): Promise<IncomingMessage> {
  signal.throwIfAborted();
  const address = new URL(target, url);
  const headers = { authorization: signRequest(key, { method, target }, now) };
  const open = address.protocol === 'https:' ? requestHttps : requestHttp;
  const request = open(address, { method, headers, agent: false });
  const givenUp = giveUpUnconnected(request);
  const inTime = AbortSignal.timeout(headTimeoutMs);
  try {
    request.end();
    const answered = Promise.withResolvers<IncomingMessage>();
    request.once('response', answered.resolve);
    request.once('error', answered.reject);
    const answer = await until(answered.promise, AbortSignal.any([signal, inTime, givenUp]));
    watch(answer, signal);
    return answer;
  } catch (error) {
    // What comes after is of no interest to anybody.
    request.on('error', () => undefined);
    request.destroy();
    signal.throwIfAborted();
    throw new HoldfastError('worker_unreachable', `the worker at ${url} ${reasonOf(error, inTime, givenUp)}`, { cause: error });
  }
}

/** The promise's outcome, or the signal's reason when that comes first. */
async function until<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function giveUpUnconnected(request: ClientRequest): AbortSignal {
  const givenUp = new AbortController();
  request.once('socket', (socket) => {
    if (!socket.connecting) return;
    const timer = setTimeout(() => givenUp.abort(), connectTimeoutMs);
    for (const event of ['connect', 'close']) socket.once(event, () => clearTimeout(timer));
  });
  return givenUp.signal;
}

/** Ends the body when nobody wants it any longer, and when the worker says nothing although it may. */
function watch(answer: IncomingMessage, signal: AbortSignal): void {
  const leave = (): void => void answer.destroy();
  signal.addEventListener('abort', leave, { once: true });
  answer.once('close', () => signal.removeEventListener('abort', leave));
  answer.socket.setTimeout(silentMs, () => {
    // A client that takes nothing makes the worker wait; the worker itself ends that.
    if (answer.readableLength === 0)
      answer.destroy(new HoldfastError('worker_unreachable', `the worker sent nothing for ${silentMs / 1000} s`));
  });
}

function reasonOf(error: unknown, inTime: AbortSignal, givenUp: AbortSignal): string {
  if (givenUp.aborted) return `took no connection within ${connectTimeoutMs / 1000} s`;
  if (inTime.aborted) return `did not answer within ${headTimeoutMs / 1000} s`;
  const code: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' ? `cannot be reached (${code})` : 'cannot be reached';
}
