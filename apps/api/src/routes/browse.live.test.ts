import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { registerWorker } from '@holdfast/database/workers';
import { addTenant, startTestApi, type Tenant, type TestApi } from '../testing/test-api.ts';

// What the API refuses by itself, and what it does when workers are away. That workers answer what is there is shown with real ones: see
// apps/worker/src/browse and apps/e2e.

let api: TestApi;
let mine: Tenant;
let other: Tenant;
beforeAll(async () => {
  api = await startTestApi();
  mine = await addTenant(api, 'mine');
  other = await addTenant(api, 'other');
});
afterAll(() => api[Symbol.asyncDispose]());

const get = (path: string, options: Parameters<TestApi['send']>[3] = {}) => api.send('GET', path, undefined, options);

describe('without a worker', () => {
  test('a request says so, and when to come again', async () => {
    for (const path of ['files', 'files/content?path=/a', 'archive?paths=/a', `diff/${mine.jobId}`]) {
      const answer = await get(`/jobs/${mine.jobId}/${path}`);
      expect(answer.json(), path).toMatchObject({ status: 503, code: 'worker_unreachable' });
      expect(answer.headers['retry-after'], path).toBe('10');
    }
    expect((await get(`/files/search?configId=${mine.configId}&name=a`)).json()).toMatchObject({ code: 'worker_unreachable' });
    // Nothing was read, so nothing is told of.
    expect(await api.database.client.event.count({ where: { type: 'backup.content_read' } })).toBe(0);
  });

  test('one that is away without having signed off is passed over, and named in the log', async () => {
    await using closed = await listening();
    await closed[Symbol.asyncDispose]();
    await registerWorker(api.database.client, { id: 'gone', hostname: 'h', pid: 1, browseUrl: closed.url });
    const answer = await get(`/jobs/${mine.jobId}/files`);
    expect(answer.json()).toMatchObject({ status: 503, code: 'worker_unreachable', detail: expect.stringContaining('cannot be reached') });
    expect(api.logLines.join('')).toContain('"worker":"gone"');
  });

  test('what answers in its place and is none gets no more than the signature of this request', async () => {
    const seen: (string | undefined)[] = [];
    await using impostor = await listening((authorization) => void seen.push(authorization));
    await registerWorker(api.database.client, { id: 'impostor', hostname: 'h', pid: 1, browseUrl: impostor.url });
    const answer = await get(`/jobs/${mine.jobId}/files`);
    expect(answer.json()).toMatchObject({ status: 503, code: 'worker_unreachable' });
    expect(seen).toEqual([expect.stringMatching(/^HOLDFAST-HMAC-SHA256 \d+\.[\w-]{43}$/u)]);
    await api.database.client.workerProcess.deleteMany({});
  });
});

describe('workers with labels', () => {
  test('that carry the one of the backup are asked first, then those that take what has none, and no others', async () => {
    const asked: string[] = [];
    await using stack = new AsyncDisposableStack();
    const workers = [
      { id: 'of the site', labels: ['site-berlin'] },
      { id: 'of another site', labels: ['site-rome'], labelsOnly: true },
      { id: 'of none', labels: [] },
    ];
    for (const worker of workers) {
      const server = stack.use(await listening(() => void asked.push(worker.id)));
      await registerWorker(api.database.client, { ...worker, hostname: 'h', pid: 1, browseUrl: server.url });
    }
    await api.database.client.backupJob.update({ where: { id: other.jobId }, data: { workerLabel: 'site-berlin' } });
    expect((await get(`/jobs/${other.jobId}/files`)).json()).toMatchObject({ code: 'worker_unreachable' });
    expect(asked).toEqual(['of the site', 'of none']);
    await api.database.client.workerProcess.deleteMany({});
  });
});

describe('a request', () => {
  test.each([
    ['files?path=etc', 'path', 'must be absolute'],
    ['files?path=/a/../b', 'path', 'must not have . or ..'],
    ['files?path=/..', 'path', 'must not have . or ..'],
    ['files?path=/%2e%2e/etc', 'path', 'must not have . or ..'],
    ['files?path=/a%00b', 'path', 'must not hold NUL'],
    ['files?path=/a/%5Cx2e%5Cx2e', 'path', 'must not have . or ..'],
    ['files?path=//a', 'path', 'must not have an empty part'],
    ['files?path=/a%5Cq', 'path', 'begins no escape'],
    ['files?limit=0', 'limit', 'must be at least 1'],
    ['files?limit=1001', 'limit', 'must be at most 1000'],
    ['files?cursor=a b', 'cursor', 'is not one that a page gave'],
    ['files?name=a&glob=b', 'glob', 'cannot be given together with name'],
    ['files?name=a/b', 'name', 'must not hold a slash'],
    ['files?type=file', 'type', 'is for a search'],
    ['files?name=a&type=door', 'type', 'must be one of'],
    ['files?recursive=true', 'recursive', 'is not a known field'],
    ['files/content', 'path', 'is missing'],
    ['archive', 'paths', 'is missing'],
    ['archive?paths=/a&format=rar', 'format', 'must be one of'],
    ['archive?paths=/a&paths=b', 'paths.1', 'must be absolute'],
    [`archive?${Array.from({ length: 101 }, (_, nth) => `paths=/${nth}`).join('&')}`, 'paths', 'must be at most 100'],
  ])('%.40s is refused for its %s', async (path, field, message) => {
    const answer = await get(`/jobs/${mine.jobId}/${path}`);
    const problem = answer.json<{ status: number; errors: { field: string; message: string }[] }>();
    expect(problem).toMatchObject({ status: 400, code: 'request_invalid' });
    expect(problem.errors.map((error) => error.field)).toContain(field);
    expect(problem.errors.map((error) => error.message).join()).toContain(message);
  });

  test('that searches over time names what it searches', async () => {
    for (const query of ['name=a', `configId=${mine.configId}`, `configId=${mine.configId}&repositoryId=${mine.repositoryId}&name=a`]) {
      expect((await get(`/files/search?${query}`)).json(), query).toMatchObject({ status: 400, code: 'request_invalid' });
    }
  });

  test('for backups of somebody else finds nothing', async () => {
    const token = api.token('admin', [mine.entityId]);
    for (const path of [
      `/jobs/${other.jobId}/files`,
      `/jobs/${other.jobId}/files/content?path=/a`,
      `/jobs/${other.jobId}/archive?paths=/a`,
      `/jobs/${mine.jobId}/diff/${other.jobId}`,
      `/jobs/${other.jobId}/diff/${mine.jobId}`,
      `/files/search?configId=${other.configId}&name=a`,
      `/files/search?repositoryId=${other.repositoryId}&name=a`,
    ]) {
      expect((await get(path, { token })).json(), path).toMatchObject({ status: 404, code: 'not_found' });
    }
  });

  test('for a backup that has no snapshot, or none that could be compared, says why', async () => {
    expect((await get(`/jobs/${mine.pendingJobId}/files`)).json()).toMatchObject({ status: 409, code: 'run_not_finished' });
    expect((await get(`/jobs/${mine.jobId}/diff/${other.jobId}`)).json()).toMatchObject({
      status: 400,
      errors: [{ field: 'otherId', message: expect.stringContaining('another business entity') }],
    });
    const copied = await get(`/jobs/${mine.jobId}/files?fromRepositoryId=${other.repositoryId}`);
    expect(copied.json()).toMatchObject({ status: 409, code: 'backup_not_usable', errors: [{ field: 'fromRepositoryId' }] });
    await api.database.client.backupJob.update({ where: { id: mine.jobId }, data: { snapshotId: null, expiredAt: new Date() } });
    expect((await get(`/jobs/${mine.jobId}/files`)).json()).toMatchObject({ status: 409, code: 'backup_not_usable' });
  });
});

/** A server that answers like no worker. */
async function listening(
  onRequest: (authorization: string | undefined) => void = () => undefined,
): Promise<AsyncDisposable & { url: string }> {
  const server = createServer((request, response) => {
    onRequest(request.headers.authorization);
    response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      server.close();
      await once(server, 'close');
    },
  };
}
