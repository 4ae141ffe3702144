import { describe, expect, test } from 'vitest';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { readApiConfig } from './config.ts';

const minimal = {
  DATABASE_URL: 'postgresql://u:p@127.0.0.1:5432/d',
  HOLDFAST_MASTER_KEY: Buffer.alloc(32, 7).toString('base64'),
  HOLDFAST_JWT_SECRET: 'x'.repeat(32),
};

function refusal(environment: Record<string, string>): string {
  try {
    readApiConfig(environment);
  } catch (error) {
    if (isHoldfastError(error, 'configuration_invalid')) return error.message;
    throw error;
  }
  throw new Error('the settings were taken');
}

describe('settings', () => {
  test('have defaults, and allow no path unless told', () => {
    expect(readApiConfig(minimal)).toMatchObject({
      host: '127.0.0.1',
      port: 8080,
      redisUrl: undefined,
      sourceRoots: [],
      logRemovalRoots: [],
      storageRoots: [],
      targetRoots: [],
      rateLimitPerMinute: 600,
      shutdownGraceMs: 30_000,
      logLevel: 'info',
    });
  });

  test('left empty are as good as missing', () => {
    expect(readApiConfig({ ...minimal, REDIS_URL: '', HOLDFAST_API_PORT: '', LOG_LEVEL: '' })).toMatchObject({
      redisUrl: undefined,
      port: 8080,
    });
  });

  test('are read', () => {
    const config = readApiConfig({ ...minimal, HOLDFAST_API_PORT: '0', HOLDFAST_SOURCE_ROOTS: '/srv:/home/a/', REDIS_URL: 'redis://r' });
    expect(config).toMatchObject({ port: 0, sourceRoots: ['/srv', '/home/a'], redisUrl: 'redis://r' });
    expect(config.masterKey.bytes).toHaveLength(32);
  });

  test.each([
    ['DATABASE_URL', undefined],
    ['HOLDFAST_MASTER_KEY', undefined],
    ['HOLDFAST_MASTER_KEY', 'c2hvcnQ='],
    ['HOLDFAST_JWT_SECRET', undefined],
    ['HOLDFAST_JWT_SECRET', 'short'],
    ['HOLDFAST_API_PORT', '70000'],
    ['HOLDFAST_API_PORT', 'http'],
    ['HOLDFAST_SOURCE_ROOTS', 'relative'],
    ['HOLDFAST_RATE_LIMIT_PER_MINUTE', '0'],
    ['LOG_LEVEL', 'loud'],
  ])('a wrong %s is named', (name, value) => {
    const environment: Record<string, string | undefined> = { ...minimal, [name]: value };
    const text = refusal(
      Object.fromEntries(Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined)),
    );
    expect(text).toContain(name);
    expect(text).not.toContain('c2hvcnQ=');
  });

  test('takes addresses and networks of proxies, and nothing else', () => {
    const read = (text: string) => readApiConfig({ ...minimal, HOLDFAST_TRUSTED_PROXIES: text }).trustedProxies;
    expect(read('')).toEqual([]);
    expect(read('10.0.0.1, 172.16.0.0/12,::1,fd00::/8')).toEqual(['10.0.0.1', '172.16.0.0/12', '::1', 'fd00::/8']);
    for (const wrong of ['proxy.example', '10.0.0.0/33', '10.0.0.0/', 'true', '1'])
      expect(() => read(wrong)).toThrow('HOLDFAST_TRUSTED_PROXIES');
  });
});
