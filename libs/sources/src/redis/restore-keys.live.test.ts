import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readWhole } from '../testing/source-contract.ts';
import { openRedisPart } from './redis-part.ts';
import { restoreKeys, type RestoreKeysOptions } from './restore-keys.ts';
import { missingRedisServer, startTestRedisServer, type TestRedisServer } from './testing/test-redis-server.ts';

const missing = missingRedisServer();
const never = new AbortController().signal;

describe.skipIf(missing !== null)(`recovery into a Redis server that runs ${missing ?? ''}`, () => {
  let server: TestRedisServer;
  let dump: Uint8Array;

  beforeAll(async () => {
    server = await startTestRedisServer();
    await makeKeys(server);
    const part = openRedisPart({ name: 'cache', connection: server.connection, signal: never });
    await part.takeMoment(never);
    dump = await readWhole(part.source, '/dump.rdb', 100_000);
    await part.close();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  /** In pieces of a size that cuts everything somewhere. */
  async function* pieces(bytes: Uint8Array, size = 777): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const restore = (target: TestRedisServer, more: Partial<RestoreKeysOptions> = {}) =>
    restoreKeys({ dump: pieces(dump), connection: target.connection, overwrite: false, onProgress: () => {}, signal: never, ...more });

  test('all keys of all databases, of every type, with their expiry and functions: the same digest', async () => {
    await using target = await startTestRedisServer();
    const done: number[] = [];
    const restored = await restore(target, { onProgress: ({ keysDone }) => done.push(keysDone) });
    expect(restored).toMatchObject({ failedCount: 0, failed: [], libraryCount: 1, expiredCount: 0 });
    expect(done.at(-1)).toBe(restored.keyCount);
    expect(await target.command('DEBUG', 'DIGEST')).toEqual(await server.command('DEBUG', 'DIGEST'));
    expect(await target.command('PEXPIRETIME', 'brief')).toBe(await server.command('PEXPIRETIME', 'brief'));
    expect(String(await target.command('FCALL', 'answer', '0'))).toBe('42');
    expect(await target.command('XPENDING', 'stream', 'group')).toEqual(await server.command('XPENDING', 'stream', 'group'));
  });

  test('a server that holds keys is refused; told so, keys of the same name are replaced and others stay', async () => {
    await using target = await startTestRedisServer();
    await target.command('SET', 'text:1', 'newer');
    await target.command('SET', 'own', 'stays');
    await expect(restore(target)).rejects.toMatchObject({ code: 'target_not_empty', message: expect.stringContaining('keys=2') as string });
    expect(String(await target.command('GET', 'text:1'))).toBe('newer');
    expect(await restore(target, { overwrite: true })).toMatchObject({ failedCount: 0 });
    expect(String(await target.command('GET', 'text:1'))).toContain('value 1');
    expect(String(await target.command('GET', 'own'))).toBe('stays');
    // Again, as the next attempt of a run that was killed.
    expect(await restore(target, { overwrite: true })).toMatchObject({ failedCount: 0 });
  });

  test('only keys with a prefix', async () => {
    await using target = await startTestRedisServer();
    expect(await restore(target, { keyPrefixes: ['hash:', 'text:1999'] })).toMatchObject({ keyCount: 3, libraryCount: 0 });
    expect(await target.command('DBSIZE')).toBe(3);
    const digest = ['DEBUG', 'DIGEST-VALUE', 'hash:large', 'hash:small', 'text:1999'];
    expect(await target.command(...digest)).toEqual(await server.command(...digest));
  });

  test('a dump that ends early or is damaged', async () => {
    await using target = await startTestRedisServer();
    await expect(restore(target, { dump: pieces(dump.subarray(0, dump.length / 2)) })).rejects.toMatchObject({
      code: 'repository_damaged',
    });
    await expect(restore(target, { dump: pieces(Buffer.from('no dump at all')), overwrite: true })).rejects.toMatchObject({
      code: 'repository_damaged',
    });
  });

  test('keys of a newer format are told one by one', async () => {
    await using target = await startTestRedisServer();
    const newer = Buffer.concat([Buffer.from('REDIS0099'), dump.subarray(9)]);
    const restored = await restore(target, { dump: pieces(newer, 100_000), keyPrefixes: ['hash:'] });
    expect(restored).toMatchObject({ keyCount: 0, failedCount: 2 });
    expect(restored.failed[0]?.reason).toContain('version');
  });

  test('an abort, and a server that is killed', async () => {
    await using target = await startTestRedisServer();
    const abort = new AbortController();
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      yield dump.subarray(0, dump.length / 2);
      abort.abort(new Error('stop'));
      yield dump.subarray(dump.length / 2);
    };
    await expect(restore(target, { dump: slow(), signal: abort.signal })).rejects.toThrow('stop');
    const killing = async function* (): AsyncGenerator<Uint8Array> {
      yield dump.subarray(0, dump.length / 2);
      await target.kill();
      yield dump.subarray(dump.length / 2);
    };
    await expect(restore(target, { dump: killing(), overwrite: true })).rejects.toMatchObject({
      code: 'redis_interrupted',
      retry: 'later',
    });
  });
});

/** Every type that this server has, small and large, since both are stored in other ways. */
async function makeKeys(server: TestRedisServer): Promise<void> {
  const numbers = Array.from({ length: 2000 }, (_, i) => i);
  for (const i of numbers) await server.command('SET', `text:${i}`, `value ${i} `.repeat(1 + (i % 50)));
  for (const value of ['1', '-200', '70000', '-3000000000', '']) await server.command('SET', `number:${value}`, value);
  await server.command('SET', 'a long key '.repeat(30), Buffer.from([0, 255, 10, 13, 0]));
  await server.command('SET', 'brief', 'soon gone', 'PX', '86400000');
  const pairs = numbers.flatMap((i) => [`field ${i}`, `value ${i}`]);
  for (const [size, count] of [
    ['small', 5],
    ['large', 2000],
  ] as const) {
    await server.command('RPUSH', `list:${size}`, ...numbers.slice(0, count).map((i) => `item ${i}`.repeat(5)));
    await server.command('SADD', `set:${size}`, ...numbers.slice(0, count).map((i) => `member ${i}`));
    await server.command('SADD', `integers:${size}`, ...numbers.slice(0, count).map(String));
    await server.command('HSET', `hash:${size}`, ...pairs.slice(0, count * 2));
    await server.command('ZADD', `sorted:${size}`, ...numbers.slice(0, count).flatMap((i) => [String(i / 7), `member ${i}`]));
  }
  await server.command('ZADD', 'sorted:large', '+inf', 'last', '-inf', 'first');
  await server.command('PFADD', 'log', 'a', 'b', 'c');
  for (let i = 1; i < 300; i++) await server.command('XADD', 'stream', `${i}-1`, 'a', String(i));
  await server.command('XGROUP', 'CREATE', 'stream', 'group', '0');
  await server.command('XREADGROUP', 'GROUP', 'group', 'me', 'COUNT', '7', 'STREAMS', 'stream', '>');
  await server.command('XDEL', 'stream', '5-1');
  await server.command('FUNCTION', 'LOAD', "#!lua name=mylib\nredis.register_function('answer', function() return 42 end)");
  await server.command('SELECT', '9');
  await server.command('SET', 'in another database', 'yes');
  await server.command('SELECT', '0');
}
