import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openApiClient } from '../api-client.ts';
import { openFileSink, streamSink } from './file-sink.ts';
import { getFile } from './get-file.ts';

// A server of ours in the API's place: that a connection breaks at a certain byte cannot be asked of the real one. The e2e tests have that.

const content = randomBytes(300_000);
type Answer = (request: IncomingMessage, response: ServerResponse) => void;

let folder: string;
let answers: Answer[];
let asked: IncomingMessage[];
const cleanups: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-get-'));
  cleanups.push(() => rm(folder, { recursive: true }));
  [answers, asked] = [[], []];
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function startServer(): Promise<string> {
  const server = createServer((request, response) => {
    asked.push(request);
    (answers.shift() ?? whole())(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** As the API answers, with a range where one is asked for; `cutAt` bytes of the answer come when given. */
function whole({ bytes = content, etag = '"one"', cutAt }: { bytes?: Buffer; etag?: string; cutAt?: number } = {}): Answer {
  return ({ headers }, response) => {
    const from = Number(/^bytes=(\d+)-$/u.exec(headers.range ?? '')?.[1] ?? 0);
    const isRange = headers.range !== undefined && headers['if-range'] === etag;
    const body = isRange ? bytes.subarray(from) : bytes;
    response.writeHead(isRange ? 206 : 200, { etag, 'content-length': body.length });
    if (cutAt === undefined) response.end(body);
    else response.write(body.subarray(0, cutAt), () => setTimeout(() => response.destroy(), 20));
  };
}

async function get(signal = new AbortController().signal, replaces = false): Promise<number> {
  const client = openApiClient({ url: await startServer(), token: 'token' });
  await using sink = await openFileSink(join(folder, 'output'), { replaces });
  return await getFile(client, { jobId: 'job', path: '/a b', sink, onProgress: () => undefined, firstRetryMs: 5, signal });
}

test('what came before a connection broke is not sent again, and the file is whole', async () => {
  answers = [whole({ cutAt: 100_000 }), whole({ cutAt: 50_000 })];
  expect(await get()).toBe(content.length);
  expect((await readFile(join(folder, 'output'))).equals(content)).toBe(true);
  expect(asked.map(({ headers }) => headers.range)).toEqual([undefined, 'bytes=100000-', 'bytes=150000-']);
  expect(asked[0]?.url).toBe('/api/backup/jobs/job/files/content?path=%2Fa+b');
  expect((await stat(join(folder, 'output'))).mode & 0o777).toBe(0o600);
  expect(await readdir(folder)).toEqual(['output']);
});

test('a file that is another one by now is begun anew', async () => {
  const other = randomBytes(200_000);
  answers = [whole({ cutAt: 100_000 }), whole({ bytes: other, etag: '"two"' })];
  expect(await get()).toBe(other.length);
  expect((await readFile(join(folder, 'output'))).equals(other)).toBe(true);
});

test('of standard output nothing can be taken back', async () => {
  answers = [whole({ cutAt: 100_000 }), whole({ etag: '"two"' })];
  const client = openApiClient({ url: await startServer() });
  const { Writable } = await import('node:stream');
  const sink = streamSink(new Writable({ write: (_chunk, _encoding, done) => done() }));
  const { signal } = new AbortController();
  const got = getFile(client, { jobId: 'job', path: '/a', sink, onProgress: () => undefined, firstRetryMs: 5, signal });
  await expect(got).rejects.toThrow(expect.objectContaining({ code: 'conflict' }));
});

test('what is refused, and what breaks again and again, leaves nothing and is told', async () => {
  const refuse: Answer = (_request, response) => {
    response.writeHead(404, { 'content-type': 'application/problem+json' });
    response.end(JSON.stringify({ detail: 'there is no backup job', code: 'not_found', hint: 'check the id' }));
  };
  answers = [refuse];
  await expect(get()).rejects.toThrow(expect.objectContaining({ code: 'not_found' }));
  answers = Array.from({ length: 5 }, () => whole({ cutAt: 0 }));
  await expect(get()).rejects.toThrow('does not answer');
  expect(await readdir(folder)).toEqual([]);
});

test('a file that is there stays unless it is to be replaced, and then until the new one is whole', async () => {
  const output = join(folder, 'output');
  await writeFile(output, 'precious');
  await expect(get()).rejects.toThrow(expect.objectContaining({ code: 'conflict' }));
  expect(await readFile(output, 'utf8')).toBe('precious');
  const ended = new AbortController();
  answers = [
    (_request, response) => {
      response.writeHead(200, { etag: '"one"', 'content-length': content.length });
      response.write(content.subarray(0, 1_000), () => ended.abort(new Error('Ctrl-C')));
    },
  ];
  await expect(get(ended.signal, true)).rejects.toThrow('Ctrl-C');
  expect([await readFile(output, 'utf8'), await readdir(folder)]).toEqual(['precious', ['output']]);
  await get(undefined, true);
  expect((await readFile(output)).equals(content)).toBe(true);
});
