import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** Bytes for the API to pass on. `body` is read as fast as they are taken, and left when nobody takes them. */
export interface BytesAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Null when there is nothing to send: for HEAD, and where nothing fits the request. */
  readonly body: AsyncIterable<Uint8Array> | null;
}

/** Who takes nothing for so long has left without a word; the lock that a download holds must not stand in the way of a cleanup for ever. */
const stalledMs = 120_000;

export function sendJson(response: ServerResponse, body: object): void {
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(JSON.stringify(body));
}

/**
 * Sends all of it. An error on the way cuts the connection, so that whoever reads sees that it is not whole. Aborts with the signal's reason.
 */
export async function sendBytes(response: ServerResponse, { status, headers, body }: BytesAnswer, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  response.writeHead(status, { ...headers, 'cache-control': 'no-store' });
  if (body === null) {
    response.end();
    return;
  }
  response.flushHeaders();
  for await (const bytes of body) {
    signal.throwIfAborted();
    if (!response.write(bytes)) await drained(response, signal);
  }
  response.end();
  // The room for a download is taken until the last byte has gone.
  if (!response.writableFinished) await once(response, 'finish', { signal });
}

async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  const stalled = AbortSignal.timeout(stalledMs);
  try {
    await once(response, 'drain', { signal: AbortSignal.any([signal, stalled]) });
  } catch (error) {
    signal.throwIfAborted();
    if (!stalled.aborted) throw error;
    throw new HoldfastError('run_cancelled', `nothing of a download was taken for ${stalledMs / 1000} s`);
  }
}

/** Tells what is wrong, or cuts the connection when the answer has begun. */
export function sendError(response: ServerResponse, { code, message, hint, context }: HoldfastError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = JSON.stringify({ code, message, hint, context }, (_name, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  );
  response.writeHead(code === 'token_invalid' ? 401 : 400, { 'content-type': 'application/json' }).end(body);
}
