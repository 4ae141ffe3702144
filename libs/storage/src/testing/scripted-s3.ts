import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';

/**
 * A few dozen lines that answer as an S3 server does, for what the real one of the tests does not do: conditions of puts that are heeded
 * or passed over, object locks, and answers that no honest server gives. It checks no signature.
 */
export interface ScriptedS3 extends AsyncDisposable {
  readonly endpoint: string;
  /** What was asked, in order. */
  readonly requests: S3Request[];
  readonly objects: Map<string, Buffer>;
}

export interface S3Request {
  /** With the key as in the URL, without the bucket: `PUT keys/ab`. */
  readonly what: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface S3Script {
  /** What becomes of `If-None-Match: *`; `conflict` as of two puts at once. */
  readonly condition?: 'heeded' | 'ignored' | 'refused' | 'conflict';
  readonly keepsLocks?: boolean;
  /** Answers instead of the script, or leaves it to that by false. */
  readonly answer?: (request: S3Request, response: ServerResponse) => unknown;
}

const modified = 'Thu, 26 Nov 2026 11:00:00 GMT';

export async function openScriptedS3({
  condition = 'heeded',
  keepsLocks = true,
  answer = () => false,
}: S3Script = {}): Promise<ScriptedS3> {
  const requests: S3Request[] = [];
  const objects = new Map<string, Buffer>();
  const locks = new Map<string, string>();

  const put = ({ headers, body }: S3Request, key: string, response: ServerResponse): void => {
    if (headers['if-none-match'] === '*') {
      if (condition === 'refused') return refuse(response, 501, 'NotImplemented');
      if (condition === 'conflict') return refuse(response, 409, 'ConditionalRequestConflict');
      if (condition === 'heeded' && objects.has(key)) return refuse(response, 412, 'PreconditionFailed');
    }
    objects.set(key, body);
    const lock = headers['x-amz-object-lock-mode'];
    if (keepsLocks && typeof lock === 'string') locks.set(key, lock);
    response.end();
  };
  const head = (key: string, response: ServerResponse): void => {
    const bytes = objects.get(key);
    const lock = locks.get(key);
    if (lock !== undefined) response.setHeader('x-amz-object-lock-mode', lock);
    if (bytes === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-length': bytes.byteLength, 'last-modified': modified }).end();
  };
  const list = ({ query }: S3Request, response: ServerResponse): void => {
    const prefix = query.get('prefix') ?? '';
    const contents = [...objects].map(([key, bytes]) =>
      key.startsWith(prefix)
        ? `<Contents><Key>${encodeURIComponent(key)}</Key><Size>${bytes.byteLength}</Size><LastModified>2026-11-26T11:00:00.789Z</LastModified></Contents>`
        : '',
    );
    response.end(`<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>${contents.join('')}</ListBucketResult>`);
  };

  const server = createServer((incoming, response) => {
    void (async () => {
      const { pathname, searchParams: query } = new URL(incoming.url ?? '', 'http://host');
      const key = decodeURIComponent(pathname.slice('/bucket/'.length));
      const method = incoming.method ?? '';
      const request = { what: `${method} ${key}`.trim(), query, headers: incoming.headers, body: await buffer(incoming) };
      requests.push(request);
      if ((await answer(request, response)) !== false) return;
      if (method === 'PUT') put(request, key, response);
      else if (method === 'HEAD') head(key, response);
      else if (method === 'DELETE') {
        objects.delete(key);
        response.writeHead(204).end();
      } else if (key === '') list(request, response);
      else if (objects.has(key)) response.end(objects.get(key));
      else refuse(response, 404, 'NoSuchKey');
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    requests,
    objects,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** An error as S3 writes it. */
export function refuse(response: ServerResponse, status: number, code: string, message = 'no'): void {
  response.writeHead(status, { 'content-type': 'application/xml' });
  response.end(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`);
}
