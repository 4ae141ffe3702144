import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { problemError } from './problem-error.ts';

export const apiPrefix = '/api/backup';

export interface ApiClientOptions {
  /** `http://127.0.0.1:8080`, without the prefix. */
  readonly url: string;
  readonly token?: string;
  readonly signal?: AbortSignal;
}

export interface ApiClient {
  readonly options: ApiClientOptions;
  get<T>(path: string, schema: z.ZodType<T>): Promise<T>;
  /** Sent with an Idempotency-Key, so that trying again after a lost answer starts nothing twice. */
  post<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T>;
}

/** The API answers within milliseconds; a minute of silence is a hang. */
const requestTimeoutMs = 60_000;
const maxTries = 4;
const firstRetryMs = 250;
/** Nobody did the work: 429 asks to come again, 503 says that a part is away for a while. */
const retriedStatus: readonly number[] = [429, 503];
const maxRetryAfterMs = 10_000;

/**
 * Calls the REST API. Paths are below /api/backup. Refusals become errors with the API's code and hint; a call that got no
 * answer, 429 or 503 is tried again a few times. Answers are checked against `schema`.
 */
export function openApiClient(options: ApiClientOptions): ApiClient {
  const call = async <T>(method: string, path: string, body: unknown, schema: z.ZodType<T>): Promise<T> => {
    const text = await sendWithRetries(options, method, path, body);
    const parsed = schema.safeParse(text === '' ? undefined : JSON.parse(text));
    if (!parsed.success) {
      throw new HoldfastError('internal', `${method} ${path} answered what was not expected: ${z.prettifyError(parsed.error)}`);
    }
    return parsed.data;
  };
  return {
    options,
    get: (path, schema) => call('GET', path, undefined, schema),
    post: (path, body, schema) => call('POST', path, body, schema),
  };
}

async function sendWithRetries(options: ApiClientOptions, method: string, path: string, body: unknown): Promise<string> {
  const headers: Record<string, string> = {
    accept: 'application/json',
    ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(method === 'POST' ? { 'idempotency-key': randomUUID() } : {}),
  };
  const request: RequestInit = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  for (let tries = 1; ; tries += 1) {
    const outcome = await send(options, path, request);
    if (outcome.text !== undefined) return outcome.text;
    const error = outcome.error(`${method} ${apiPrefix}${path}`);
    if (tries >= maxTries || outcome.retryAfterMs === undefined) throw error;
    await sleep(Math.max(outcome.retryAfterMs, firstRetryMs * 2 ** (tries - 1)), undefined, { signal: options.signal });
  }
}

type Outcome =
  | { readonly text: string }
  | { readonly text?: undefined; readonly retryAfterMs: number | undefined; readonly error: (request: string) => HoldfastError };

async function send(options: ApiClientOptions, path: string, request: RequestInit): Promise<Outcome> {
  const timeout = AbortSignal.timeout(requestTimeoutMs);
  try {
    const response = await fetch(`${options.url}${apiPrefix}${path}`, {
      ...request,
      signal: options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]),
    });
    const text = await response.text();
    if (response.ok) return { text };
    return {
      retryAfterMs: retriedStatus.includes(response.status) ? retryAfterMs(response) : undefined,
      error: (name) => problemError(name, response.status, text),
    };
  } catch (error) {
    options.signal?.throwIfAborted();
    return { retryAfterMs: 0, error: () => unreachable(options.url, error) };
  }
}

function retryAfterMs(response: Response): number {
  const seconds = Number(response.headers.get('retry-after') ?? 0);
  return Number.isFinite(seconds) ? Math.min(seconds * 1000, maxRetryAfterMs) : 0;
}

/** No answer came from `url`. */
export function unreachable(url: string, cause: unknown): HoldfastError {
  const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
  return new HoldfastError('internal', `the API at ${url} does not answer: ${reason}`, {
    hint: 'start it with `holdfast up`, or name the right address with --api',
    cause,
  });
}
