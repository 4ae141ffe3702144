import { createHmac } from 'node:crypto';
import { eventually } from './eventually.ts';

/** A client as thin as curl: these tests see what a user of the REST API sees. */
export interface ApiClient {
  readonly baseUrl: string;
  readonly token: string;
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<ApiAnswer>;
  /** Sends and wants a 2xx; the answer's body. */
  get<T = Row>(path: string): Promise<T>;
  post<T = Row>(path: string, body: unknown, headers?: Record<string, string>): Promise<T>;
  put<T = Row>(path: string, body: unknown): Promise<T>;
  /** Waits until the row at `path` is final; its last state. */
  finished(path: string, timeoutMs?: number): Promise<Row>;
  /** The same for the row `id` in the list at `path`. */
  finishedIn(path: string, id: string, timeoutMs?: number): Promise<Row>;
}

export interface ApiAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Row;
}

/** A row as the API shows it: only what these tests read. */
export interface Row {
  readonly [field: string]: unknown;
  readonly id: string;
  readonly status: string;
  readonly items: Row[];
  readonly code: string;
  readonly hint: string;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  readonly attempt: number;
  readonly snapshotId: string | null;
  readonly metadata: Record<string, unknown>;
  readonly details: Record<string, unknown>;
}

const finalStates = new Set(['completed', 'completed_with_warnings', 'failed', 'cancelled']);
const runTimeoutMs = 120_000; // far above what any run of these tests takes on a busy machine

export function createApiClient(baseUrl: string, token: string): ApiClient {
  const send: ApiClient['send'] = async (method, path, body, headers = {}) => {
    const answer = await fetch(`${baseUrl}/api/backup${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    const contentType = answer.headers.get('content-type') ?? '';
    return { status: answer.status, contentType, body: contentType.includes('json') ? JSON.parse(text) : { text } };
  };
  const wanted = async (method: string, path: string, body?: unknown, headers?: Record<string, string>) => {
    const answer = await send(method, path, body, headers);
    if (answer.status >= 300) throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const finished = (what: string, read: () => Promise<Row | undefined>, timeoutMs = runTimeoutMs) => {
    let last: Row | undefined;
    return eventually(
      `${what} finished`,
      async () => {
        last = await read();
        return last !== undefined && finalStates.has(last.status) ? last : undefined;
      },
      timeoutMs,
      () => JSON.stringify(last),
    );
  };
  return {
    baseUrl,
    token,
    send,
    get: async <T>(path: string) => (await wanted('GET', path)) as T,
    post: async <T>(path: string, body: unknown, headers?: Record<string, string>) => (await wanted('POST', path, body, headers)) as T,
    put: async <T>(path: string, body: unknown) => (await wanted('PUT', path, body)) as T,
    finished: (path, timeoutMs) => finished(path, () => wanted('GET', path), timeoutMs),
    finishedIn: (path, id, timeoutMs) =>
      finished(`${id} in ${path}`, async () => (await wanted('GET', path)).items.find((row) => row.id === id), timeoutMs),
  };
}

export interface TokenClaims {
  readonly sub: string;
  readonly role: 'viewer' | 'operator' | 'admin';
  readonly entities: readonly string[] | '*';
}

/** Signs as any holder of the secret would (RFC 7519, HS256): the API's own code has no part in it. */
export function signToken(secret: string, claims: TokenClaims, lifetimeSeconds = 3600): string {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const unsigned = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ ...claims, iat: now, exp: now + lifetimeSeconds })}`;
  return `${unsigned}.${createHmac('sha256', secret).update(unsigned).digest('base64url')}`;
}
