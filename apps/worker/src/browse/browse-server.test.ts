import { request as httpRequest, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { deriveBrowseKey, signRequest } from '@holdfast/jobs/browse/request-signature';
import { pino } from 'pino';
import { afterEach, expect, test, vi } from 'vitest';
import { listsMaxCount, openBrowseServer, streamsMaxCount, type BrowseRoutes, type BrowseServer } from './browse-server.ts';

// The server itself, over real connections; what it answers about snapshots has its own tests.

const key = deriveBrowseKey(new Uint8Array(32).fill(1));
const servers: AsyncDisposable[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]();
});

async function open(routes: Partial<BrowseRoutes>, more: { port?: number; url?: string } = {}): Promise<BrowseServer> {
  const { port = 0, url } = more;
  const logger = pino({ level: 'silent' });
  const all = { json: {}, bytes: {}, ...routes };
  const server = await openBrowseServer({ host: '127.0.0.1', port, url, key, routes: all, now: () => new Date(), logger });
  if (server === null) throw new Error('it does not listen');
  servers.push(server);
  return server;
}

async function ask(server: BrowseServer, target: string, more: { authorization?: string; method?: string } = {}): Promise<IncomingMessage> {
  const { method = 'GET' } = more;
  const { authorization = signRequest(key, { method, target }, new Date()) } = more;
  const asked = httpRequest(new URL(target, server.url), { method, headers: { authorization }, agent: false });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return response;
}

async function text(response: IncomingMessage): Promise<string> {
  let all = '';
  for await (const bytes of response) all += String(bytes);
  return all;
}

test('answers what the API has signed, with the query as it was signed', async () => {
  const server = await open({ json: { '/echo': ({ query }) => Promise.resolve({ path: query.get('path') }) } });
  const answer = await ask(server, `/echo?path=${encodeURIComponent('/a b/ü')}`);
  expect(answer.statusCode).toBe(200);
  expect(JSON.parse(await text(answer))).toEqual({ path: '/a b/ü' });
  expect((await ask(server, '/other')).statusCode).toBe(400);
  expect(JSON.parse(await text(await ask(server, '/toString')))).toMatchObject({ code: 'not_found' });
  expect(JSON.parse(await text(await ask(server, '/echo', { method: 'DELETE' })))).toMatchObject({ code: 'not_found' });
});

test('refuses a signature that is forged, too old, for another request or missing, before it does anything', async () => {
  const route = vi.fn<() => Promise<object>>(() => Promise.resolve({}));
  const server = await open({ json: { '/echo': route } });
  const forged = signRequest(deriveBrowseKey(new Uint8Array(32).fill(2)), { method: 'GET', target: '/echo' }, new Date());
  const old = signRequest(key, { method: 'GET', target: '/echo' }, new Date(Date.now() - 120_000));
  const foreign = signRequest(key, { method: 'GET', target: '/echo?path=/b' }, new Date());
  for (const authorization of [forged, old, foreign, '', 'Bearer a.b.c']) {
    const answer = await ask(server, '/echo', { authorization });
    expect(answer.statusCode, authorization).toBe(401);
    expect(JSON.parse(await text(answer))).toMatchObject({ code: 'token_invalid' });
  }
  expect(route).not.toHaveBeenCalled();
});

test('tells an error by its code, and cuts the connection when bytes were sent already', async () => {
  const failing = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('begun');
    await delay(10);
    throw new HoldfastError('repository_damaged', 'a blob is not what its hash says');
  };
  const server = await open({
    json: { '/fails': () => Promise.reject(new HoldfastError('path_not_found', 'there is no /x')) },
    bytes: { '/cut': () => Promise.resolve({ status: 200, headers: {}, body: failing() }) },
  });
  expect(JSON.parse(await text(await ask(server, '/fails')))).toMatchObject({ code: 'path_not_found', message: 'there is no /x' });
  const cut = await ask(server, '/cut');
  expect(cut.statusCode).toBe(200);
  await expect(text(cut)).rejects.toThrow('aborted');
});

test('stops reading when whoever asked goes away, and reads no faster than it is taken', async () => {
  let readCount = 0;
  const left = Promise.withResolvers<void>();
  const endless = async function* (signal: AbortSignal): AsyncGenerator<Uint8Array> {
    try {
      for (; ; readCount++) {
        await delay(0, undefined, { signal });
        yield Buffer.alloc(64 * 1024);
      }
    } finally {
      left.resolve();
    }
  };
  const server = await open({
    bytes: { '/endless': ({ signal }) => Promise.resolve({ status: 200, headers: {}, body: endless(signal) }) },
  });
  const response = await ask(server, '/endless');
  // Nothing is taken: what fits into the buffers between is all that is read.
  let before = -1;
  while (before !== readCount) {
    before = readCount;
    await delay(200);
  }
  expect(readCount).toBeLessThan(1_000);
  response.destroy();
  await left.promise;
  await server.drain();
});

test('has room for so many at a time, and says so to who comes then', async () => {
  const release = Promise.withResolvers<object>();
  const server = await open({
    json: { '/waits': () => release.promise },
    bytes: { '/waits/too': async () => ({ status: 200, headers: {}, body: (await release.promise) && null }) },
  });
  const lists = Array.from({ length: listsMaxCount }, () => ask(server, '/waits'));
  const streams = Array.from({ length: streamsMaxCount }, () => ask(server, '/waits/too'));
  const busy = async (target: string): Promise<boolean> => {
    const answer = await Promise.race([ask(server, target), delay(100).then(() => undefined)]);
    return answer !== undefined && String(JSON.parse(await text(answer)).code) === 'worker_busy';
  };
  while (!(await busy('/waits'))) await delay(20);
  while (!(await busy('/waits/too'))) await delay(20);
  release.resolve({});
  expect((await Promise.all([...lists, ...streams])).map(({ statusCode }) => statusCode)).toEqual(
    Array.from({ length: listsMaxCount + streamsMaxCount }, () => 200),
  );
});

test('lets those in hand end when the worker stops, and takes no new ones', async () => {
  const release = Promise.withResolvers<object>();
  const server = await open({ json: { '/waits': () => release.promise } });
  const waiting = ask(server, '/waits');
  await delay(50);
  const drained = server.drain();
  expect(JSON.parse(await text(await ask(server, '/waits')))).toMatchObject({ code: 'worker_busy' });
  release.resolve({ done: true });
  expect(JSON.parse(await text(await waiting))).toEqual({ done: true });
  await drained;
});

test('a port that is taken keeps no worker from its work', async () => {
  const server = await open({}, { url: 'https://worker.internal:9465' });
  expect(server.url).toBe('https://worker.internal:9465');
  const other = await open({});
  const port = Number(new URL(other.url).port);
  await expect(open({}, { port })).rejects.toThrow('it does not listen');
});
