import { createHmac } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createTestDatabase } from '@holdfast/database/testing/test-database';
import { describe, expect, test } from 'vitest';
import { eventually, masterKey } from './testing/test-api.ts';

const main = join(import.meta.dirname, 'main.ts');
const secrets = { HOLDFAST_MASTER_KEY: masterKey, HOLDFAST_JWT_SECRET: 'a secret of the tests that is long enough' };

function signedToken(): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub: 's', role: 'viewer', entities: '*' })}`;
  return `${text}.${createHmac('sha256', secrets.HOLDFAST_JWT_SECRET).update(text).digest('base64url')}`;
}

function start(environment: Record<string, string>) {
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, [main], {
    env: { PATH, ...secrets, HOLDFAST_API_PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += String(text)));
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const address = () => eventually(() => /"address":"([^"]+)"/u.exec(output)?.[1]);
  return { child, ended, address, output: () => output };
}

describe('the API as a process', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('says where it is, serves, and stops cleanly on %s with a stream open', async (signal) => {
    await using database = await createTestDatabase();
    const api = start({ DATABASE_URL: database.url });
    const address = await api.address();
    expect(
      api
        .output()
        .split('\n')
        .filter((line) => line.includes('"event":"ready"')),
    ).toHaveLength(1);
    expect(await (await fetch(`${address}/api/backup/health`)).json()).toMatchObject({ state: 'ok' });
    expect((await fetch(`${address}/docs/json`)).status).toBe(200);
    expect(await (await fetch(`${address}/docs/`)).text()).toContain('swagger-ui');
    expect((await fetch(`${address}/api/backup/jobs`)).status).toBe(401);
    const stream = await fetch(`${address}/api/backup/events`, { headers: { authorization: `Bearer ${signedToken()}` } });
    expect(stream.status).toBe(200);
    api.child.kill(signal);
    expect(await api.ended).toBe(0);
    expect(await stream.text()).toContain(': connected');
    expect(api.output()).toContain('stopped');
    expect(api.output()).not.toContain(secrets.HOLDFAST_JWT_SECRET);
  });

  test('names the setting that is wrong, and the server that does not answer', async () => {
    const wrong = start({ DATABASE_URL: 'postgresql://127.0.0.1:1/x', HOLDFAST_API_PORT: 'http' });
    expect(await wrong.ended).toBe(1);
    expect(wrong.output()).toContain('HOLDFAST_API_PORT');
    const lonely = start({ DATABASE_URL: 'postgresql://somebody:hush@127.0.0.1:1/x' });
    expect(await lonely.ended).toBe(1);
    expect(lonely.output()).toContain('database_unreachable');
    expect(lonely.output()).not.toContain('hush');
  });
});
