import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missingRedis, startTestRedis } from '@holdfast/jobs/testing/test-redis';
import { configBody, startTestApi, type TestApi } from '../testing/test-api.ts';

const noRedis = await missingRedis();
const form = { 'content-type': 'application/x-www-form-urlencoded' };

describe.each(['postgresql', 'redis'])('the board on the %s backend', (kind) => {
  const isPossible = kind === 'postgresql' || noRedis === null;
  // oxlint-disable-next-line expect-expect -- it is no test yet
  const it = test.skipIf(!isPossible);
  const stack = new AsyncDisposableStack();
  let api: TestApi;
  beforeAll(async () => {
    if (!isPossible) return;
    const redis = kind === 'redis' ? stack.use(await startTestRedis()) : undefined;
    api = stack.use(await startTestApi(redis === undefined ? {} : { redisUrl: redis.url }));
  });
  afterAll(() => stack.disposeAsync());

  const get = (url: string, headers: Record<string, string> = {}) => api.server.inject({ url, headers });
  const signIn = (token: string, headers: Record<string, string> = {}) =>
    api.server.inject({
      method: 'POST',
      url: '/admin/queues/sign-in',
      headers: { ...form, ...headers },
      payload: new URLSearchParams({ token }).toString(),
    });
  const cookieOf = async () => {
    const { name, value } = (await signIn(api.token('admin'))).cookies[0] ?? { name: '', value: '' };
    return `${name}=${value}`;
  };

  it('is closed to strangers: pages go to the sign-in, calls are refused', async () => {
    const page = await get('/admin/queues', { accept: 'text/html' });
    expect([page.statusCode, page.headers.location]).toEqual([303, '/admin/queues/sign-in']);
    expect((await get('/admin/queues/api/queues')).json()).toMatchObject({ status: 401, code: 'token_missing' });
    expect((await get('/admin/queues/static/js/main.js')).statusCode).toBe(401);
    expect((await get('/admin/queues/api/queues', { cookie: 'holdfast_board=nonsense' })).statusCode).toBe(401);
  });

  it('signs an admin of all entities in, with a cookie that scripts and other sites cannot use', async () => {
    const answer = await signIn(api.token('admin'));
    expect([answer.statusCode, answer.headers.location]).toEqual([303, '/admin/queues']);
    const cookie = String(answer.headers['set-cookie']);
    expect(cookie).toMatch(/HttpOnly/u);
    expect(cookie).toMatch(/SameSite=Strict/u);
    expect(cookie).toMatch(/Path=\/admin\/queues/u);
    expect(cookie).toMatch(/Max-Age=3[56]\d\d/u);
  });

  it.each([
    ['a viewer', () => api.token('viewer'), 403],
    ['an operator', () => api.token('operator'), 403],
    ['an admin of one entity', () => api.token('admin', ['e1']), 403],
    ['nonsense', () => '"><script>alert(1)</script>', 401],
    ['nothing', () => '', 401],
  ])('does not sign %s in', async (_name, token, status) => {
    const answer = await signIn(token());
    expect(answer.statusCode).toBe(status);
    expect(answer.headers['set-cookie']).toBeUndefined();
    expect(answer.body).toContain('<form');
    expect(answer.body).not.toContain('<script');
    expect((await get('/admin/queues/api/queues', { cookie: `holdfast_board=${encodeURIComponent(token())}` })).statusCode).toBe(401);
  });

  it('shows the queues and their jobs', async () => {
    const cookie = await cookieOf();
    const configId = (await api.send('POST', '/configs', configBody(await api.addEntity('board'), { schedule: '0 3 * * *' }))).json<{
      id: string;
    }>().id;
    const jobId = (await api.send('POST', '/jobs', { backupConfigId: configId })).json<{ id: string }>().id;
    const page = await get('/admin/queues', { cookie, accept: 'text/html' });
    expect(page.statusCode).toBe(200);
    expect(page.headers['content-security-policy']).toContain("script-src 'self'");
    const script = /src="(static\/js\/main[^"]+)"/u.exec(page.body)?.[1];
    expect((await get(`/admin/queues/${script}`, { cookie })).statusCode).toBe(200);
    const queues = (await get('/admin/queues/api/queues?activeQueue=backup&status=waiting', { cookie })).json<{
      queues: { name: string; jobs: { id: string; data: object }[] }[];
    }>();
    expect(queues.queues.map(({ name }) => name).toSorted()).toEqual([
      'adopt',
      'backup',
      'cleanup',
      'copy',
      'recovery',
      'schedule',
      'storage_test',
      'verify',
    ]);
    expect(queues.queues.find(({ name }) => name === 'backup')?.jobs).toMatchObject([{ id: jobId, data: { id: jobId } }]);
    expect((await get(`/admin/queues/api/queues/backup/${jobId}`, { cookie })).json()).toMatchObject({ job: { id: jobId } });
    expect((await get('/admin/queues/api/queues', { authorization: `Bearer ${api.token('admin')}` })).statusCode).toBe(200);
  });

  it('changes something only for its own pages', async () => {
    const cookie = await cookieOf();
    const pause = (headers: Record<string, string>) =>
      api.server.inject({
        method: 'PUT',
        url: '/admin/queues/api/queues/backup/pause',
        headers: { cookie, host: 'holdfast.test', ...headers },
      });
    for (const headers of [
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { origin: 'https://evil.test' },
      { origin: 'null' },
    ]) {
      expect((await pause(headers)).statusCode, JSON.stringify(headers)).toBe(403);
    }
    expect((await signIn(api.token('admin'), { origin: 'https://evil.test' })).statusCode).toBe(403);
    expect(await api.queues.byName.backup.isPaused()).toBe(false);
    expect((await pause({ origin: 'http://holdfast.test' })).statusCode).toBe(200);
    expect(await api.queues.byName.backup.isPaused()).toBe(true);
    await api.queues.resumeAll();
  });

  it('lets the admin out', async () => {
    const answer = await api.server.inject({ method: 'POST', url: '/admin/queues/sign-out' });
    expect(String(answer.headers['set-cookie'])).toMatch(/holdfast_board=;.*(Max-Age=0|Expires=Thu, 01 Jan 1970)/u);
  });
});
