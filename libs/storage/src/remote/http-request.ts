import { request as httpRequest, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { lengthOf } from './body.ts';
import type { HttpAgents } from './http-agents.ts';

/** One request and its answer, over the watched connections of http-agents.ts: what needs no vendor's client. */
export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: readonly Uint8Array[];
  /** A longer body of an answer is not read. */
  readonly maxAnswerBytes: number;
  readonly signal?: AbortSignal | undefined;
  /** Called before the last byte is handed to the connection: from then on the server may do what was asked. */
  readonly onSent?: () => void;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Nobody else's memory. */
  readonly body: Buffer;
}

/** What is handed to a connection at once: all that TLS seals in one go, with the thread held for it. */
const sliceSizeBytes = 256 * 1024;

/**
 * Redirects are answers like others. Rejects with the signal's reason, with a connection's error as Node gives it, or with
 * storage_denied for an answer that is too long; the connection is gone then, and with it a request that was not sent whole.
 */
export async function sendHttpRequest(agents: HttpAgents, request: HttpRequest): Promise<HttpResponse> {
  const { method, url, headers, body = [], signal } = request;
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
  const isTls = url.protocol === 'https:';
  const call = (isTls ? httpsRequest : httpRequest)(url, {
    method,
    agent: isTls ? agents.https : agents.http,
    headers: {
      ...headers,
      'user-agent': 'holdfast',
      'accept-encoding': 'identity',
      ...(method === 'POST' ? { 'content-length': lengthOf(body) } : {}),
    },
  });
  const onAbort = (): void => {
    // One that waits for a connection hears of its end when it gets one: the caller does not wait for that.
    call.destroy();
    reject(signal?.reason);
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  call.on('error', reject);
  call.on('response', (answer) => {
    const { statusCode: status = 0, headers: answered } = answer;
    readAnswer(answer, request.maxAnswerBytes).then((read) => resolve({ status, headers: answered, body: read }), reject);
  });
  sendBody(call, body, request.onSent).catch(reject);
  try {
    const response = await promise;
    // A refusal may come before all is sent: the rest is of no use then.
    if (!call.writableFinished) call.destroy();
    return response;
  } catch (error) {
    call.destroy();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

async function sendBody(call: ClientRequest, body: readonly Uint8Array[], onSent: (() => void) | undefined): Promise<void> {
  let leftBytes = lengthOf(body);
  if (leftBytes === 0) onSent?.();
  for (const part of body) {
    for (let begin = 0; begin < part.byteLength; begin += sliceSizeBytes) {
      if (call.destroyed) return;
      const slice = part.subarray(begin, begin + sliceSizeBytes);
      leftBytes -= slice.byteLength;
      if (leftBytes === 0) onSent?.();
      if (!call.write(slice)) await drained(call);
    }
  }
  if (!call.destroyed) call.end();
}

/** Resolves at the end of the connection too: what happened there is told by its own events. */
async function drained(call: ClientRequest): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  call.once('drain', resolve);
  call.once('close', resolve);
  await promise;
  call.off('drain', resolve);
  call.off('close', resolve);
}

async function readAnswer(answer: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const { 'content-length': told } = answer.headers;
  if (told !== undefined && Number(told) > maxBytes) throw tooLong(maxBytes);
  // The whole length at once: a pack is not copied together from its chunks.
  const whole = told === undefined ? undefined : Buffer.allocUnsafeSlow(Number(told));
  const chunks: Buffer[] = [];
  let lengthBytes = 0;
  const received: AsyncIterable<Buffer> = answer;
  for await (const chunk of received) {
    if (lengthBytes + chunk.byteLength > maxBytes) throw tooLong(maxBytes);
    if (whole === undefined) chunks.push(chunk);
    else chunk.copy(whole, lengthBytes);
    lengthBytes += chunk.byteLength;
  }
  return whole ?? Buffer.concat(chunks, lengthBytes);
}

/** JSON, or undefined for what is none. */
export function readJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
  } catch {
    return undefined;
  }
}

function tooLong(maxBytes: number): HoldfastError {
  return new HoldfastError('storage_denied', `the answer is longer than the ${String(maxBytes)} bytes that it may have`, {
    hint: 'check the endpoint, and that no proxy between changes its answers',
  });
}
