import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { hostname } from 'node:os';
import { asHoldfastError, HoldfastError } from '@holdfast/errors/holdfast-error';
import { isSigned, type BrowseKey } from '@holdfast/jobs/browse/request-signature';
import type { Logger } from 'pino';
import { sendBytes, sendError, sendJson, type BytesAnswer } from './send-answer.ts';

/**
 * A worker's own HTTP server, by which the API lets it look into snapshots. It answers requests that carry the API's signature and nobody
 * else; who may see what is the API's to decide. Answers are JSON or bytes; a refusal is `{ code, message, hint, context }`.
 */
export interface BrowseServer extends AsyncDisposable {
  /** What the API calls it by. */
  readonly url: string;
  /** Takes no new request, and resolves when those in hand have ended. */
  drain(): Promise<void>;
}

export interface BrowseRequest {
  readonly method: 'GET' | 'HEAD';
  readonly query: URLSearchParams;
  /** Aborts when nobody waits for the answer any longer, or the worker ends. */
  readonly signal: AbortSignal;
}

export type JsonAnswer = (request: BrowseRequest) => Promise<object>;
export type StreamAnswer = (request: BrowseRequest) => Promise<BytesAnswer>;

/** What there is to ask, by path. */
export interface BrowseRoutes {
  readonly json: Readonly<Record<string, JsonAnswer>>;
  readonly bytes: Readonly<Record<string, StreamAnswer>>;
}

export interface BrowseServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** What others call it by; made of host and port when not given. */
  readonly url: string | undefined;
  readonly key: BrowseKey;
  readonly routes: BrowseRoutes;
  readonly now: () => Date;
  readonly logger: Logger;
}

/** Each holds a few packs in memory; the next worker takes what this one does not. */
export const streamsMaxCount = 16;
/** Lists and searches at a time: beyond it each would only slow the others. */
export const listsMaxCount = 64;
/** Those of the API's processes, with as many again that are being opened or refused. */
const connectionsMaxCount = 4 * (streamsMaxCount + listsMaxCount);
/** A request is a line and a few headers, sent at once. */
const requestTimeoutMs = 10_000;
/** A path of 16 KiB in percent encoding, and a hundred of them for an archive. */
const headMaxBytes = 256 * 1024;
/** Long enough that the API does not open a connection for each of a person's clicks. */
const keepAliveMs = 30_000;

/** Null when it cannot listen there, which the log tells: a port that another worker has keeps no backup from being made. */
export async function openBrowseServer(options: BrowseServerOptions): Promise<BrowseServer | null> {
  const { host, port, logger } = options;
  const desk = createDesk(options);
  const server = createServer(
    { requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs, keepAliveTimeout: keepAliveMs, maxHeaderSize: headMaxBytes },
    (request, response) => void desk.answer(request, response),
  );
  server.maxConnections = connectionsMaxCount;
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    logger.warn({ err: error, host, port }, 'browse requests cannot be answered; the worker goes on without');
    return null;
  }
  server.on('error', (error) => logger.warn({ err: error }, 'the server for browse requests has failed'));
  const url = options.url ?? urlOf(server, host);
  logger.info({ host, url }, 'browse requests are answered');
  return {
    url,
    drain: () => desk.drain(),
    async [Symbol.asyncDispose]() {
      desk.cutOff();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A worker that listens on all of its addresses is called by the name of its machine. */
function urlOf(server: Server, host: string): string {
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const name = host === '0.0.0.0' || host === '::' ? hostname() : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`;
}

interface Desk {
  answer(request: IncomingMessage, response: ServerResponse): Promise<void>;
  drain(): Promise<void>;
  cutOff(): void;
}

/** Takes requests: who asks, whether there is room, what becomes of those in hand at the end. */
function createDesk({ key, routes, now, logger }: BrowseServerOptions): Desk {
  const ending = new AbortController();
  const inHand = { json: 0, bytes: 0 };
  const emptied: (() => void)[] = [];
  let isDraining = false;

  /** Throws worker_busy unless there is room for one more; gives what makes the room free again. */
  const enter = (kind: 'json' | 'bytes', maxCount: number): (() => void) => {
    if (isDraining) throw new HoldfastError('worker_busy', 'the worker is being stopped');
    if (inHand[kind] >= maxCount) throw new HoldfastError('worker_busy', `the worker has ${maxCount} of these requests in hand already`);
    inHand[kind]++;
    return () => {
      inHand[kind]--;
      if (inHand.json + inHand.bytes === 0) for (const resolve of emptied.splice(0)) resolve();
    };
  };

  const serve = async (request: IncomingMessage, response: ServerResponse, left: AbortSignal): Promise<void> => {
    const { method = '', url: target = '/' } = request;
    if (!isSigned(key, { method, target }, request.headers.authorization, now())) {
      throw new HoldfastError('token_invalid', "the request does not carry the API's signature, or carries one that is too old", {
        hint: 'API and workers need the same HOLDFAST_MASTER_KEY, and clocks that agree within half a minute',
      });
    }
    const [path = '', query = ''] = target.split('?', 2);
    const isKnown = method === 'GET' || method === 'HEAD';
    const json = Object.hasOwn(routes.json, path) ? routes.json[path] : undefined;
    const bytes = Object.hasOwn(routes.bytes, path) ? routes.bytes[path] : undefined;
    if (!isKnown || (json === undefined && bytes === undefined)) throw new HoldfastError('not_found', `there is no ${method} ${path} here`);
    using leave = new DisposableStack();
    leave.defer(json === undefined ? enter('bytes', streamsMaxCount) : enter('json', listsMaxCount));
    const asked: BrowseRequest = { method, query: new URLSearchParams(query), signal: AbortSignal.any([left, ending.signal]) };
    if (json !== undefined) sendJson(response, await json(asked));
    else if (bytes !== undefined) await sendBytes(response, await bytes(asked), asked.signal);
  };

  return {
    async answer(request, response) {
      const left = new AbortController();
      response.once('close', () => left.abort(new HoldfastError('run_cancelled', 'whoever asked for it has gone')));
      // A connection that breaks is seen by `close`.
      response.on('error', () => undefined);
      try {
        await serve(request, response, left.signal);
      } catch (thrown) {
        const error = asHoldfastError(thrown);
        const path = (request.url ?? '').split('?', 1)[0];
        if (left.signal.aborted) logger.debug({ path }, 'whoever asked for a part of a snapshot has gone');
        else logger[error.code === 'internal' ? 'error' : 'info']({ path, code: error.code, err: error }, 'a browse request failed');
        sendError(response, error);
      }
    },
    async drain() {
      isDraining = true;
      if (inHand.json + inHand.bytes === 0) return;
      await new Promise<void>((resolve) => void emptied.push(resolve));
    },
    cutOff: () => ending.abort(new HoldfastError('run_interrupted', 'the worker stopped')),
  };
}
