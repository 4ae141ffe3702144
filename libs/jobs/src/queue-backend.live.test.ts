import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createQueueBackend } from './queue-backend.ts';
import { missingRedis, startTestRedis, type TestRedis } from './testing/test-redis.ts';

describe.skipIf((await missingRedis()) !== null)('a queue backend on redis', () => {
  let server: TestRedis;
  beforeAll(async () => {
    server = await startTestRedis();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test('warns of a redis that may drop jobs', async () => {
    const backend = createQueueBackend({ redisUrl: server.url, databaseUrl: '' });
    const client = new Redis(server.url);
    try {
      await client.config('SET', 'maxmemory-policy', 'allkeys-lru');
      expect(await backend.checkConfiguration()).toEqual([expect.stringContaining('allkeys-lru')]);
      await client.config('SET', 'maxmemory-policy', 'noeviction');
      expect(await backend.checkConfiguration()).toEqual([]);
    } finally {
      client.disconnect();
    }
  });

  test('says so when redis is away', async () => {
    const backend = createQueueBackend({ redisUrl: 'redis://127.0.0.1:1', databaseUrl: '' });
    const error = await backend.checkConfiguration().catch((thrown: unknown) => thrown);
    expect(isHoldfastError(error, 'queue_unreachable')).toBe(true);
  });
});
