import { expect, test } from 'vitest';
import { redisConnectionSchema, redisPlace } from './connection-options.ts';
import { connectionError, replyError } from './redis-error.ts';

test.each([
  ['WRONGPASS invalid username-password pair or user is disabled.', 'redis_login_failed'],
  ['NOAUTH Authentication required.', 'redis_login_failed'],
  ['ERR invalid password', 'redis_login_failed'],
  ['ERR AUTH <password> called without any password configured for the default user. Are you sure?', 'redis_login_failed'],
  ["NOPERM this user has no permissions to run the 'psync' command", 'redis_denied'],
  ["ERR unknown command 'PSYNC', with args beginning with: '?' '-1'", 'redis_denied'],
  ["NOMASTERLINK Can't SYNC while not connected with my master", 'redis_busy'],
  ["ERR BGSAVE failed, replication can't continue", 'redis_busy'],
  ['LOADING Redis is loading the dataset in memory', 'redis_busy'],
  ['ERR something new', 'redis_failed'],
])('%s', (reply, code) => {
  expect(replyError(reply, 'default@cache:6379', 'PSYNC')).toMatchObject({ code, message: expect.stringContaining(reply) as string });
});

test('errors of the way', () => {
  const error = (code: string): Error => Object.assign(new Error('it failed'), { code });
  expect(connectionError(error('ECONNREFUSED'), 'p', false)).toMatchObject({ code: 'redis_unreachable' });
  expect(connectionError(error('ECONNRESET'), 'p', true)).toMatchObject({ code: 'redis_interrupted' });
  expect(connectionError(error('CERT_HAS_EXPIRED'), 'p', false)).toMatchObject({ code: 'redis_tls_failed' });
});

test('a connection as it is stored, and what is missing in it', () => {
  const stored = redisConnectionSchema.parse({ host: 'cache' });
  expect(stored).toEqual({ host: 'cache', port: 6379, tls: { mode: 'verify-full' } });
  expect(redisPlace(stored)).toBe('default@cache:6379');
  for (const wrong of [{ host: 'a b' }, { host: 'a', port: 0 }, { host: 'a', user: 'a b' }, { host: 'a', password: 'x' }]) {
    expect(redisConnectionSchema.safeParse(wrong).success).toBe(false);
  }
});
