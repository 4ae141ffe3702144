import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { openApiClient } from './api-client.ts';
import { readEventStream } from './event-stream.ts';

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** A real HTTP server that gives one answer after the other, the last one again and again. */
async function serve(...answers: Answer[]) {
  const requests: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      const parts: string[] = [];
      for await (const part of request.setEncoding('utf8')) parts.push(String(part));
      const body = parts.join('');
      const answer = answers[Math.min(requests.length, answers.length - 1)];
      requests.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
      answer?.(request, response, body);
    })();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const json =
  (status: number, value: unknown, headers: Record<string, string> = {}): Answer =>
  (_request, response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));

const rowSchema = z.looseObject({ id: z.string() });

test('a call carries token, body and an idempotency key, and the answer is checked', async () => {
  await using server = await serve(json(202, { id: 'a', more: 1 }));
  const client = openApiClient({ url: server.url, token: 'secret' });
  expect(await client.post('/jobs', { backupConfigId: 'c' }, rowSchema)).toEqual({ id: 'a', more: 1 });
  const [request] = server.requests;
  expect(request).toMatchObject({ method: 'POST', url: '/api/backup/jobs', body: '{"backupConfigId":"c"}' });
  expect(request?.headers).toMatchObject({ authorization: 'Bearer secret', 'idempotency-key': expect.stringMatching(/^[\da-f-]{36}$/) });
  await expect(client.get('/jobs/a', z.object({ id: z.number() }))).rejects.toThrow(/answered what was not expected/);
});

test('a problem becomes an error with its code, its words, its fields and its hint', async () => {
  const problem = {
    type: 'urn:x',
    status: 400,
    code: 'request_invalid',
    detail: 'the body is wrong',
    hint: 'mend it',
    errors: [{ field: 'name', message: 'is missing' }],
  };
  await using server = await serve(json(400, problem));
  const refused = openApiClient({ url: server.url }).get('/configs', rowSchema);
  await expect(refused).rejects.toMatchObject({
    code: 'request_invalid',
    message: 'GET /api/backup/configs answered 400 request_invalid: the body is wrong (name: is missing)',
    hint: 'mend it',
  });
  expect(server.requests).toHaveLength(1);
});

test('what is no problem document is told as it came, and an unknown code is not trusted', async () => {
  await using proxy = await serve((_request, response) => response.writeHead(502).end('bad gateway'));
  await expect(openApiClient({ url: proxy.url }).get('/configs', rowSchema)).rejects.toMatchObject({
    code: 'internal',
    message: 'GET /api/backup/configs answered 502: bad gateway',
  });
  await using newer = await serve(json(409, { code: 'not_of_this_version', detail: 'no' }));
  await expect(openApiClient({ url: newer.url }).get('/configs', rowSchema)).rejects.toMatchObject({
    code: 'internal',
    message: expect.stringContaining('not_of_this_version: no'),
  });
});

test('a part that is away for a moment, and a broken connection, are tried again under the same key', async () => {
  await using server = await serve(
    json(503, { code: 'queue_unreachable', detail: 'away' }),
    (request) => request.socket.destroy(),
    json(202, { id: 'a' }),
  );
  expect(await openApiClient({ url: server.url }).post('/jobs', {}, rowSchema)).toEqual({ id: 'a' });
  expect(server.requests).toHaveLength(3);
  expect(new Set(server.requests.map((request) => request.headers['idempotency-key'])).size).toBe(1);
});

test('nobody there is told with the address and what to do', async () => {
  const { url } = await serveAndClose();
  await expect(openApiClient({ url }).get('/health', rowSchema)).rejects.toMatchObject({
    message: expect.stringContaining(`the API at ${url} does not answer`),
    hint: expect.stringContaining('holdfast up'),
  });
});

async function serveAndClose(): Promise<{ url: string }> {
  await using server = await serve(json(200, {}));
  return { url: server.url };
}

const stream =
  (...blocks: string[]): Answer =>
  (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(blocks.join(''));
  };

test('an event stream that breaks is resumed behind the last event, and progress has no place in the log', async () => {
  await using server = await serve(
    stream('retry: 5\n: connected\n\n', 'id: 7\nevent: state\ndata: {"n":7}\n\n', 'event: progress\ndata: {"p":1}\n\n'),
    // Only a place in the log, with no event.
    stream('id: 9\n\n'),
    stream('id: 10\nevent: state\ndata: {"n":10}\n\n'),
  );
  const seen: unknown[] = [];
  for await (const event of readEventStream({ url: server.url, token: 't', query: { entityId: 'e' }, after: '3' })) {
    seen.push([event.id, event.type, event.data]);
    if (seen.length === 3) break;
  }
  expect(seen).toEqual([
    ['7', 'state', '{"n":7}'],
    [undefined, 'progress', '{"p":1}'],
    ['10', 'state', '{"n":10}'],
  ]);
  expect(server.requests.map((request) => request.headers['last-event-id'])).toEqual(['3', '7', '9']);
  expect(server.requests[0]?.url).toBe('/api/backup/events?entityId=e');
});

test('a stream that is refused throws, and an abort ends it without a word', async () => {
  await using server = await serve(json(401, { code: 'token_invalid', detail: 'expired' }));
  const refused = readEventStream({ url: server.url }).next();
  await expect(refused).rejects.toMatchObject({ code: 'token_invalid' });

  const stop = new AbortController();
  await using silent = await serve((_request, response) =>
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n'),
  );
  const waiting = readEventStream({ url: silent.url, signal: stop.signal }).next();
  setTimeout(() => stop.abort(), 50);
  expect(await waiting).toEqual({ done: true, value: undefined });
});
