import fastify, { type FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addAuthentication, enforceAccess, mayTouch, type Access } from './authentication.ts';
import { addProblems } from './problems.ts';
import { addRateLimit } from './rate-limit.ts';

const secret = 'a secret of at least 32 characters';
const accesses: Access[] = ['public', 'viewer', 'operator', 'admin', 'all_entities_admin'];

async function buildSmallServer(): Promise<FastifyInstance> {
  const server = fastify();
  await addAuthentication(server, secret);
  await addRateLimit(server, 1000);
  addProblems(server);
  await server.register(async (scope) => {
    enforceAccess(scope);
    for (const access of accesses) {
      scope.get(`/${access}`, { config: { access } }, (request) => ({ subject: request.caller?.subject ?? null }));
    }
  });
  await server.ready();
  return server;
}

describe('authentication', () => {
  let server: FastifyInstance;
  let other: FastifyInstance;
  beforeAll(async () => {
    server = await buildSmallServer();
    other = fastify();
    await addAuthentication(other, 'quite another secret of 32 characters');
    await other.ready();
  });
  afterAll(async () => {
    await server.close();
    await other.close();
  });

  const sign = (claims: object, options: object = {}) => server.jwt.sign(claims, options);
  const get = (url: string, authorization?: string) =>
    server.inject({ url, headers: authorization === undefined ? {} : { authorization } });

  test.each([
    ['viewer', '*', [true, true, false, false, false]],
    ['operator', '*', [true, true, true, false, false]],
    ['admin', ['e1'], [true, true, true, true, false]],
    ['admin', '*', [true, true, true, true, true]],
  ])('the role %s with entities %j', async (role, entities, allowed) => {
    const authorization = `Bearer ${sign({ sub: 's', role, entities })}`;
    const answers = await Promise.all(accesses.map((access) => get(`/${access}`, authorization)));
    expect(answers.map(({ statusCode }) => statusCode === 200)).toEqual(allowed);
    const refused = answers.filter(({ statusCode }) => statusCode !== 200);
    expect(refused.map((answer) => answer.json<{ code: string }>().code)).toEqual(refused.map(() => 'role_insufficient'));
  });

  test('without a token only what is public', async () => {
    expect((await get('/public')).statusCode).toBe(200);
    const answer = await get('/viewer');
    expect(answer.statusCode).toBe(401);
    expect(answer.headers['www-authenticate']).toContain('Bearer');
    expect(answer.headers['content-type']).toContain('application/problem+json');
    expect(answer.json()).toMatchObject({ code: 'token_missing' });
  });

  test('a public route takes a wrong token for none', async () => {
    expect((await get('/public', 'Bearer nonsense')).json()).toEqual({ subject: null });
  });

  const claims = { sub: 's', role: 'admin', entities: '*' };
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  test.each([
    ['another secret', () => other.jwt.sign(claims)],
    ['no signature (alg none)', () => `${part({ alg: 'none', typ: 'JWT' })}.${part(claims)}.`],
    ['another algorithm', () => server.jwt.sign(claims, { algorithm: 'HS512' })],
    ['an ended one', () => sign({ ...claims, exp: 1 })],
    ['one that is not yet valid', () => sign({ ...claims, nbf: 99_999_999_999 })],
    ['no role', () => sign({ sub: 's', entities: '*' })],
    ['an unknown role', () => sign({ sub: 's', role: 'root', entities: '*' })],
    ['no subject', () => sign({ role: 'admin', entities: '*' })],
    ['no entities', () => sign({ sub: 's', role: 'admin' })],
    ['entities of a wrong kind', () => sign({ sub: 's', role: 'admin', entities: 'e1' })],
    ['a changed payload', () => sign({ ...claims, role: 'viewer' }).replace(/\.[^.]+\./u, `.${part(claims)}.`)],
    ['nonsense', () => 'nonsense'],
  ])('refuses %s', async (_name, token) => {
    const answer = await get('/viewer', `Bearer ${token()}`);
    expect(answer.statusCode).toBe(401);
    expect(answer.json()).toMatchObject({ code: 'token_invalid' });
    expect(answer.body).not.toContain(token());
  });

  test('refuses another scheme than Bearer', async () => {
    expect((await get('/viewer', `Basic ${sign(claims)}`)).statusCode).toBe(401);
  });

  test('a route that does not say who may use it cannot be added', async () => {
    const careless = fastify();
    await addAuthentication(careless, secret);
    await expect(
      careless.register(async (scope) => {
        enforceAccess(scope);
        scope.get('/forgotten', () => 'open');
      }),
    ).rejects.toThrow(/does not say who may use it/u);
  });

  test('an entity outside the token is not touched', () => {
    const caller = { subject: 's', role: 'viewer', expiresAt: undefined } as const;
    expect(mayTouch({ ...caller, scope: '*' }, 'e9')).toBe(true);
    expect(mayTouch({ ...caller, scope: ['e1'] }, 'e1')).toBe(true);
    expect(mayTouch({ ...caller, scope: ['e1'] }, 'e9')).toBe(false);
    expect(mayTouch({ ...caller, scope: [] }, 'e1')).toBe(false);
  });
});

describe('the rate limit', () => {
  test('counts by subject, else by address, and wrong tokens too', async () => {
    await using server = fastify() as FastifyInstance & AsyncDisposable;
    await addAuthentication(server, secret);
    await addRateLimit(server, 2);
    addProblems(server);
    server.get('/', () => 'ok');
    const get = (token?: string) => server.inject({ url: '/', headers: token === undefined ? {} : { authorization: `Bearer ${token}` } });
    await server.ready();
    const [a, b] = ['a', 'b'].map((sub) => server.jwt.sign({ sub, role: 'viewer', entities: '*' }));
    const statuses = async (token?: string) => [
      (await get(token)).statusCode,
      (await get(token)).statusCode,
      (await get(token)).statusCode,
    ];
    expect(await statuses(a)).toEqual([200, 200, 429]);
    expect(await statuses(b)).toEqual([200, 200, 429]);
    expect(await statuses('wrong')).toEqual([200, 200, 429]);
    const answer = await get('also wrong');
    expect(answer.json()).toMatchObject({ code: 'rate_limited', status: 429 });
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    expect((await server.inject({ url: '/nowhere' })).statusCode).toBe(429);
  });
});
