import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addTenant, configBody, copyBody, startTestApi, type Method, type TestApi, type Tenant } from './testing/test-api.ts';
import type { Access, Role } from './plugins/authentication.ts';
import { statusByCode } from './problem.ts';

// These tests read the routes from the server itself, so that a new one is swept too, or fails for want of a line in the tables below.

interface SweptRoute {
  readonly method: Method;
  /** Below /api/backup, such as `/jobs/:id`. */
  readonly path: string;
  readonly access: Access;
}

let api: TestApi;
let mine: Tenant;
let other: Tenant;
let routes: SweptRoute[];
beforeAll(async () => {
  api = await startTestApi();
  mine = await addTenant(api, 'mine');
  other = await addTenant(api, 'other');
  routes = routesOf(api.server);
});
afterAll(() => api[Symbol.asyncDispose]());

/** HEAD is GET without its body. */
function routesOf(server: FastifyInstance): SweptRoute[] {
  const real = server.apiRoutes.filter(({ method }) => method !== 'HEAD');
  return real.map(({ method, url, access }) => ({ method: method as Method, path: url.replace('/api/backup', ''), access }));
}

/** A body that is right, where one is needed, for the entity of `tenant`. */
const bodies: Record<string, (tenant: Tenant) => object> = {
  'POST /entities': () => ({ name: `swept ${Math.random()}` }),
  'POST /configs': (tenant) => configBody(tenant.entityId),
  'PUT /configs/:id': () => ({ retentionDays: 9 }),
  'POST /jobs': (tenant) => ({ backupConfigId: tenant.configId }),
  'POST /jobs/:id/verify': () => ({ verificationType: 'checksum' }),
  'POST /recovery': (tenant) => ({ backupJobId: tenant.jobId, recoveryType: 'full', targetLocation: '/srv/restored/y' }),
  'POST /repositories/test': (tenant) => {
    const { businessEntityId, storageOptions } = configBody(tenant.entityId);
    return { businessEntityId, storageOptions };
  },
  'POST /repositories/adopt': (tenant) => {
    const { businessEntityId, storageLocation, storageOptions } = configBody(tenant.entityId);
    return { businessEntityId, storageLocation, storageOptions, password: tenant.encryptionKey };
  },
  'POST /maintenance/cleanup': (tenant) => ({ businessEntityId: tenant.entityId }),
  'POST /dr-plans': (tenant) => ({ businessEntityId: tenant.entityId, name: 'flood', priority: 2, rto: 10, rpo: 10 }),
  'PUT /dr-plans/:id': () => ({ rto: 11 }),
  'POST /repositories/:id/copies': (tenant) => copyBody(`of ${tenant.entityId}`),
  'PUT /copy-configs/:id': () => ({ timeZone: 'Europe/Berlin' }),
};
const bodiless = new Set([
  'POST /jobs/:id/execute',
  'POST /jobs/:id/cancel',
  'POST /verifications/:id/cancel',
  'POST /recovery/:id/execute',
  'POST /recovery/:id/cancel',
  'POST /maintenance/cleanup/:id/cancel',
  'POST /repositories/:id/test',
  'POST /copies/:id/execute',
  'POST /copies/:id/cancel',
  'POST /copy-configs/:id/copies',
  'POST /repositories/:id/adopt',
  'POST /adoptions/:id/cancel',
  'POST /service/start',
  'POST /service/stop',
  'POST /entities/system',
]);

/** Whose id a path takes. */
const idFields: Record<string, keyof Tenant> = {
  '/entities/:id': 'entityId',
  '/configs/:id': 'configId',
  '/configs/:id/recovery-window': 'configId',
  '/jobs/:id': 'jobId',
  '/jobs/:id/execute': 'pendingJobId',
  '/jobs/:id/cancel': 'pendingJobId',
  '/jobs/:id/verify': 'jobId',
  '/jobs/:id/verifications': 'jobId',
  '/verifications/:id': 'verificationId',
  '/verifications/:id/cancel': 'verificationId',
  '/recovery/:id': 'recoveryId',
  '/recovery/:id/execute': 'recoveryId',
  '/recovery/:id/cancel': 'recoveryId',
  '/maintenance/cleanup/:id': 'cleanupId',
  '/maintenance/cleanup/:id/cancel': 'cleanupId',
  '/dr-plans/:id': 'planId',
  '/repositories/:id': 'repositoryId',
  '/repositories/:id/test': 'repositoryId',
  '/repositories/:id/copies': 'repositoryId',
  '/jobs/:id/copies': 'jobId',
  '/jobs/:id/files': 'jobId',
  '/jobs/:id/files/content': 'jobId',
  '/jobs/:id/archive': 'jobId',
  '/jobs/:id/diff/:otherId': 'jobId',
  '/copies/:id': 'copyId',
  '/copies/:id/execute': 'copyId',
  '/copies/:id/cancel': 'copyId',
  '/copy-configs/:id': 'copyConfigId',
  '/copy-configs/:id/copies': 'copyConfigId',
  '/repositories/:id/adopt': 'repositoryId',
  '/repositories/:id/snapshots': 'repositoryId',
  '/adoptions/:id': 'adoptionId',
  '/adoptions/:id/cancel': 'adoptionId',
  '/replication-slots/:id': 'slotId',
};

/** Where a query has to be given. */
const queries: Record<string, string> = { '/jobs/:id/files/content': '?path=/srv/x', '/jobs/:id/archive': '?paths=/srv' };
/** What is read is the tenant's own data: for operators, as a recovery is. */
const readsContent = new Set(['GET /jobs/:id/files/content', 'GET /jobs/:id/archive']);

const nameOf = ({ method, path }: SweptRoute) => `${method} ${path}`;
const urlOf = ({ path }: SweptRoute, tenant: Tenant) => {
  const field = idFields[path];
  return field === undefined ? path : path.replace(':id', tenant[field]).replace(':otherId', tenant[field]) + (queries[path] ?? '');
};
const bodyOf = (route: SweptRoute, tenant: Tenant) => bodies[nameOf(route)]?.(tenant);
/** The stream does not end by itself; its own test follows it. */
const answers = (route: SweptRoute) => route.path !== '/events';

describe('every route', () => {
  test('is known to these sweeps', () => {
    const withId = routes.filter(({ path }) => path.includes(':'));
    expect(withId.map(({ path }) => path).filter((path) => !(path in idFields))).toEqual([]);
    const writing = routes.filter(({ method }) => method === 'POST' || method === 'PUT').map(nameOf);
    expect(writing.filter((name) => !(name in bodies) && !bodiless.has(name))).toEqual([]);
    expect(routes.length).toBeGreaterThan(40);
  });

  test('is in the document with a summary, a tag, its answers and how to sign in', () => {
    const document = api.server.swagger() as unknown as { openapi: string; paths: Record<string, Record<string, Operation>> };
    expect(document.openapi).toMatch(/^3\.1/u);
    const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace('/api/backup', '').replaceAll(/\{([^}]+)\}/gu, ':$1')}`),
    );
    expect(documented.toSorted()).toEqual(routes.map(nameOf).toSorted());
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const name = `${method} ${path}`;
        expect(operation.summary, name).toBeTypeOf('string');
        expect(operation.tags, name).toHaveLength(1);
        const isOpen = path.endsWith('/health');
        expect(operation.security, name).toEqual(isOpen ? undefined : [{ bearer: [] }]);
        expect(
          Object.keys(operation.responses).filter((status) => status.startsWith('2')),
          name,
        ).not.toEqual([]);
        if (!isOpen) expect(operation.responses['401']?.content, name).toHaveProperty('application/problem+json');
      }
    }
  });

  test('is in the document with what a recovery may be asked for, as its rows show it', () => {
    const { components } = api.server.swagger() as unknown as {
      components: { schemas: Record<string, { properties: Record<string, unknown> }> };
    };
    expect(components.schemas['RecoveryJob']?.properties['options']).toMatchObject({
      type: 'object',
      properties: { dryRun: { type: 'boolean', default: false }, window: { properties: { since: { type: 'string' } } } },
    });
  });

  test('refuses who brings no token, except health', async () => {
    for (const route of routes) {
      const answer = await api.send(route.method, urlOf(route, mine), bodyOf(route, mine), { token: null });
      if (route.access === 'public') expect(answer.statusCode, nameOf(route)).toBe(200);
      else expect(answer.json(), nameOf(route)).toMatchObject({ status: 401, code: 'token_missing' });
    }
    expect(routes.filter(({ access }) => access === 'public').map(nameOf)).toEqual(['GET /health']);
  });

  test.each<[Role, '*' | 'mine', Access[]]>([
    ['viewer', '*', ['operator', 'admin', 'all_entities_admin']],
    ['operator', '*', ['admin', 'all_entities_admin']],
    ['admin', 'mine', ['all_entities_admin']],
    ['admin', '*', []],
  ])('refuses the role %s (entities %s) what needs more', async (role, entities, refusedAccess) => {
    const token = api.token(role, entities === '*' ? '*' : [mine.entityId]);
    const refused: string[] = [];
    for (const route of routes.filter((each) => answers(each) && each.method !== 'DELETE')) {
      const answer = await api.send(route.method, urlOf(route, mine), bodyOf(route, mine), { token });
      expect(answer.statusCode, `${nameOf(route)} ${answer.body}`).not.toBe(500);
      if (answer.statusCode === 403) refused.push(nameOf(route));
    }
    const expected = routes.filter((each) => answers(each) && each.method !== 'DELETE' && refusedAccess.includes(each.access));
    expect(refused).toEqual(expected.map(nameOf));
  });

  test('lets viewers read and nothing else, and no content of backups; entities and the service are for admins of all', () => {
    for (const route of routes) {
      if (readsContent.has(nameOf(route))) expect(route.access, nameOf(route)).toBe('operator');
      else if (route.method === 'GET') expect(['viewer', 'public'], nameOf(route)).toContain(route.access);
      else expect(['operator', 'all_entities_admin'], nameOf(route)).toContain(route.access);
    }
    expect(
      routes
        .filter(({ access }) => access === 'all_entities_admin')
        .map(nameOf)
        .toSorted(),
    ).toEqual(['POST /entities', 'POST /entities/system', 'POST /service/start', 'POST /service/stop']);
  });
});

describe('another entity', () => {
  test('does not exist for a token, whatever it does', async () => {
    const token = api.token('admin', [mine.entityId]);
    // What is deleted last has been looked at by the others.
    const withId = routes
      .filter(({ path }) => path.includes(':id'))
      .toSorted((a, b) => Number(a.method === 'DELETE') - Number(b.method === 'DELETE'));
    for (const route of withId) {
      const answer = await api.send(route.method, urlOf(route, other), bodyOf(route, other), { token });
      expect(answer.json(), nameOf(route)).toMatchObject({ status: 404, code: 'not_found' });
      const own = await api.send(route.method, urlOf(route, mine), bodyOf(route, mine), { token });
      expect(own.statusCode, nameOf(route)).not.toBe(404);
    }
    expect(withId.length).toBeGreaterThanOrEqual(20);
    // Nothing of the other's has changed.
    for (const [path, field] of [
      ['/configs', 'configId'],
      ['/dr-plans', 'planId'],
      ['/jobs', 'pendingJobId'],
      ['/recovery', 'recoveryId'],
    ] as const) {
      expect((await api.send('GET', `${path}/${other[field]}`)).statusCode, path).toBe(200);
    }
    expect((await api.send('GET', `/configs/${other.configId}`)).json()).toMatchObject({ deletedAt: null });
  });

  test('cannot be named in a body or a query', async () => {
    const token = api.token('admin', [mine.entityId]);
    for (const name of [
      'POST /configs',
      'POST /jobs',
      'POST /recovery',
      'POST /repositories/adopt',
      'POST /maintenance/cleanup',
      'POST /dr-plans',
    ]) {
      const answer = await api.send('POST', name.slice('POST '.length), bodies[name]?.(other), { token });
      expect(answer.json(), name).toMatchObject({ status: 404, code: 'not_found' });
    }
    expect((await api.send('POST', '/maintenance/cleanup', { repositoryId: other.repositoryId }, { token })).statusCode).toBe(404);
    expect((await api.send('GET', `/events?entityId=${other.entityId}`, undefined, { token })).statusCode).toBe(404);
  });

  test('is in no list, no count and no cleanup of everything', async () => {
    const token = api.token('admin', [mine.entityId]);
    const ids = Object.values(other);
    for (const route of routes.filter((each) => each.method === 'GET' && answers(each) && !each.path.includes(':'))) {
      for (const query of ['', `?entityId=${other.entityId}`]) {
        const answer = await api.send('GET', `${route.path}${query}`, undefined, { token });
        expect(
          ids.filter((id) => answer.body.includes(id)).filter((id) => !query.includes(id)),
          `${nameOf(route)}${query}`,
        ).toEqual([]);
      }
    }
    const cleaned = await api.send('POST', '/maintenance/cleanup', {}, { token });
    expect(cleaned.body).toContain(mine.repositoryId);
    expect(cleaned.body).not.toContain(other.repositoryId);
    const emptyHanded = api.token('admin', []);
    expect((await api.send('GET', '/jobs', undefined, { token: emptyHanded })).json()).toEqual({ items: [], nextCursor: null });
    expect((await api.send('GET', '/metrics/backup', undefined, { token: emptyHanded })).json()).toMatchObject({
      total: 0,
      totalSizeBytes: 0,
      lastSuccess: [],
    });
  });
});

describe('a secret', () => {
  test('is in no answer and in no log line', async () => {
    const secret = 'correct horse battery staple';
    const entityId = await api.addEntity('secretive');
    const created = await api.send('POST', '/configs', configBody(entityId, { encryptionKey: secret }));
    const refused = [
      await api.send('POST', '/configs', configBody(entityId, { encryptionKey: `${secret}\n` })),
      await api.send('POST', '/configs', configBody(entityId, { encryptionKey: [secret] })),
      await api.send('POST', '/configs', configBody(entityId, { encryptionKey: `${secret}, another` })),
      await api.send('POST', '/configs', configBody(entityId, { encryptionKey: secret, encryptionEnabled: false })),
    ];
    expect([created, ...refused].map(({ statusCode }) => statusCode)).toEqual([201, 400, 400, 409, 400]);
    const place = { storageLocation: 'local', storageOptions: { type: 'local', path: '/srv/backups/adopted' } };
    const adopted = await api.send('POST', '/repositories/adopt', {
      businessEntityId: entityId,
      ...place,
      password: 'key of an adopted one',
    });
    expect(adopted.statusCode).toBe(202);
    const sealed = await api.database.client.$queryRaw<{ text: string }[]>`
      SELECT "sealedPassword" AS text FROM "repositories"
      UNION SELECT "encryptionKey" FROM "backup_configs" WHERE "encryptionKey" IS NOT NULL
      UNION SELECT "sealedPassword" FROM "replication_slots" WHERE "sealedPassword" IS NOT NULL`;
    expect(sealed.length).toBeGreaterThan(3);
    const { id, repositoryId } = created.json<{ id: string; repositoryId: string }>();
    const reads = routes.filter((each) => each.method === 'GET' && answers(each));
    const tenant = { ...mine, configId: id, repositoryId };
    const all = await Promise.all(reads.map((route) => api.send('GET', urlOf(route, tenant))));
    const logged = api.logLines.join('');
    const said = [created, adopted, ...refused, ...all].map(({ body }) => body).join('\n');
    for (const text of [
      secret,
      'key of mine',
      `streams for ${mine.configId}`,
      'key of an adopted one',
      api.config.jwtSecret,
      ...sealed.map(({ text: each }) => each),
    ]) {
      expect(said.includes(text), text.slice(0, 12)).toBe(false);
      expect(logged.includes(text), text.slice(0, 12)).toBe(false);
    }
    expect(said).not.toMatch(/sealedPassword|"encryptionKey":/u);
    expect(logged).not.toContain('Bearer ');
    expect(said).toContain(id);
  });

  test('that somebody logs by mistake is blotted out', () => {
    api.server.log.info(
      { body: { encryptionKey: 'blot me' }, headers: { authorization: 'Bearer blot me', cookie: 'blot me' } },
      'careless',
    );
    expect(api.logLines.at(-1)).toContain('careless');
    expect(api.logLines.at(-1)).not.toContain('blot me');
  });
});

describe('what is not there', () => {
  test('is told as a problem, with the methods that would do', async () => {
    expect((await api.send('GET', '/nothing')).json()).toMatchObject({
      status: 404,
      code: 'not_found',
      instance: expect.stringMatching(/^urn:request:/u),
    });
    const answer = await api.send('DELETE', '/jobs');
    expect(answer.json()).toMatchObject({ status: statusByCode.method_not_allowed, code: 'method_not_allowed' });
    expect(answer.headers['allow']).toBe('GET, HEAD, POST');
    expect((await api.server.inject({ url: '/' })).json()).toMatchObject({ code: 'not_found' });
    expect((await api.server.inject({ url: '/api/backup/jobs/%E0%A4%A' })).json()).toMatchObject({ status: 400, code: 'request_invalid' });
    expect((await api.send('GET', `/jobs/${'x'.repeat(500)}`)).statusCode).toBeOneOf([400, 404, 414]);
  });

  test('carries the headers that browsers defend with', async () => {
    const { headers } = await api.send('GET', '/jobs');
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'x-request-id': expect.any(String),
    });
  });
});

interface Operation {
  readonly summary?: string;
  readonly tags?: string[];
  readonly security?: object[];
  readonly responses: Record<string, { content?: object }>;
}
