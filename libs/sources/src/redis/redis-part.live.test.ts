import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readWhole } from '../testing/source-contract.ts';
import { RedisConnection } from './redis-connection.ts';
import { openRedisPart, type RedisPartOptions } from './redis-part.ts';
import { followRedisReadme } from './testing/readme-followed.ts';
import { missingRedisServer, startTestRedisServer, type TestRedisServer } from './testing/test-redis-server.ts';

const missing = missingRedisServer();
const never = new AbortController().signal;

const partOf = (server: TestRedisServer, more: Partial<RedisPartOptions['connection']> = {}, signal = never) =>
  openRedisPart({ name: 'cache', connection: { ...server.connection, ...more }, signal });

/** All of a part, as the frame reads it. */
async function dumpOf(server: TestRedisServer): Promise<{ dump: Uint8Array; facts: Record<string, unknown> }> {
  const part = partOf(server);
  try {
    await part.takeMoment(never);
    const dump = await readWhole(part.source, '/dump.rdb', 100_000);
    return { dump, facts: await part.facts() };
  } finally {
    await part.close();
  }
}

/** `MULTI`, two keys, `EXEC`, without a pause, until it is stopped: both always hold the same number. Tells how often. */
function pairWriter(server: TestRedisServer): { stop(): Promise<number> } {
  const over = new AbortController();
  const write = async (): Promise<number> => {
    await using session = await RedisConnection.open(server.connection, never);
    let count = 0;
    for (; !over.signal.aborted; count++) {
      await session.command(['MULTI']);
      await session.command(['SET', 'pair:a', String(count)]);
      await session.command(['HSET', 'pair:b', 'value', String(count)]);
      await session.command(['EXEC']);
    }
    return count;
  };
  const written = write();
  return {
    stop: async () => {
      over.abort();
      return await written;
    },
  };
}

describe.skipIf(missing !== null)(`a Redis server as a part ${missing ?? ''}`, () => {
  describe.each([
    { way: 'straight from memory', settings: ['--repl-diskless-sync', 'yes'] },
    { way: 'by a file of the server', settings: ['--repl-diskless-sync', 'no'] },
  ])('that sends $way', ({ settings }) => {
    let server: TestRedisServer;
    beforeAll(async () => {
      server = await startTestRedisServer({ settings });
      await server.command('DEBUG', 'POPULATE', '60000', 'key', '400');
      for (let i = 0; i < 2000; i++) await server.command('SET', `text:${i}`, `value ${i} `.repeat(200));
      await server.command('SET', 'brief', 'soon gone', 'PX', '86400000');
      await server.command('SELECT', '3');
      await server.command('RPUSH', 'list', 'a', 'b', 'c');
      await server.command('SELECT', '0');
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    test('under writes, every copy shows one moment and a new server has all of it', async () => {
      const writer = pairWriter(server);
      await delay(50);
      const before = Number(await server.command('GET', 'pair:a'));
      const { dump, facts } = await dumpOf(server);
      const after = Number(await server.command('GET', 'pair:a'));
      expect(await writer.stop()).toBeGreaterThan(after);
      expect(after).toBeGreaterThan(before);
      expect(facts).toMatchObject({
        server: 'redis',
        checksum: 'verified',
        bytes: dump.length,
        keysBefore: { db0: { expires: 1 }, db3: { keys: 1 } },
      });
      expect(facts['replicationOffset']).toBeGreaterThanOrEqual(0);
      await using copy = await startTestRedisServer({ dump });
      const pair = [await copy.command('GET', 'pair:a'), await copy.command('HGET', 'pair:b', 'value')].map(Number);
      expect(pair[0]).toBe(pair[1]);
      expect(pair[0]).toBeGreaterThanOrEqual(before);
      expect(pair[0]).toBeLessThanOrEqual(after);
      // But for the pair, which went on, all is the same.
      for (const each of [server, copy]) await each.command('DEL', 'pair:a', 'pair:b');
      expect(await copy.command('DEBUG', 'DIGEST')).toEqual(await server.command('DEBUG', 'DIGEST'));
    });

    test('is restored by the commands of its README.txt, word for word, and is the same, with an append-only file too', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'holdfast-redis-readme-'));
      try {
        const part = partOf(server);
        await part.takeMoment(never);
        for (const name of ['dump.rdb', 'README.txt'])
          await writeFile(join(folder, name), await readWhole(part.source, `/${name}`, 100_000));
        await part.close();
        await using followed = await followRedisReadme(folder, join(folder, 'new-server'));
        const digest = await server.command('DEBUG', 'DIGEST');
        expect(await followed.session.command(['DBSIZE'])).toBe(await server.command('DBSIZE'));
        expect(await followed.session.command(['DEBUG', 'DIGEST'])).toEqual(digest);
        // What it does at its next start, from the append-only file.
        const persisted = async (): Promise<string> => String(await followed.session.command(['INFO', 'persistence']));
        await expect.poll(persisted, { timeout: 10_000 }).toMatch(/aof_enabled:1\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0/u);
        await followed.session.command(['DEBUG', 'LOADAOF']);
        expect(await followed.session.command(['DEBUG', 'DIGEST'])).toEqual(digest);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });

    test('a server that is killed in the middle: interrupted, to be tried again, and no facts', async () => {
      await using victim = await startTestRedisServer({ settings: [...settings, '--rdb-key-save-delay', '500'] });
      for (let i = 0; i < 3000; i++) await victim.command('SET', `text:${i}`, `value ${i} `.repeat(200));
      const part = partOf(victim);
      await part.takeMoment(never);
      const reading = readWhole(part.source, '/dump.rdb', 100_000);
      reading.catch(() => undefined);
      await delay(100);
      await victim.kill();
      await expect(reading).rejects.toMatchObject({ code: 'redis_interrupted', retry: 'later' });
      await expect(part.facts()).rejects.toThrow('was not read to its end');
      await part.close();
    });

    test('an abort ends the waiting, and the server is rid of us', async () => {
      await using slow = await startTestRedisServer({ settings: [...settings, '--rdb-key-save-delay', '2000'] });
      for (let i = 0; i < 3000; i++) await slow.command('SET', `text:${i}`, 'x'.repeat(100));
      const abort = new AbortController();
      const part = partOf(slow, {}, abort.signal);
      await part.takeMoment(never);
      const reading = readWhole(part.source, '/dump.rdb', 100_000);
      reading.catch(() => undefined);
      await delay(100);
      abort.abort(new Error('stop'));
      await expect(reading).rejects.toThrow('stop');
      await part.close();
      await expect.poll(async () => String(await slow.command('INFO', 'replication')), { timeout: 10_000 }).toContain('connected_slaves:0');
    });
  });

  describe('faults', () => {
    let server: TestRedisServer;
    beforeAll(async () => {
      server = await startTestRedisServer({ tls: true });
      await server.command('SET', 'a', '1');
    });
    afterAll(() => server?.[Symbol.asyncDispose]());
    const moment = (more: Partial<RedisPartOptions['connection']>, of = server) => partOf(of, more).takeMoment(never);

    test('a wrong password, none, and one of an unknown user', async () => {
      for (const login of [{ password: 'wrong secret' }, { user: 'nobody' }, { password: undefined }]) {
        const failure: unknown = await moment(login).catch((error: unknown) => error);
        expect(failure).toMatchObject({ code: 'redis_login_failed' });
        expect(String(failure)).not.toContain('secret');
      }
    });

    test('a user without the right to be a replica is told which command', async () => {
      await server.command('ACL', 'SETUSER', 'reader', 'on', '>pass', '~*', '+info', '+ping', '+replconf');
      await expect(moment({ user: 'reader', password: 'pass' })).rejects.toMatchObject({
        code: 'redis_denied',
        message: expect.stringContaining('psync') as string,
      });
      await server.command('ACL', 'SETUSER', 'reader', '+psync');
      await expect(moment({ user: 'reader', password: 'pass' })).resolves.toMatchObject({ warnings: [] });
    });

    test('TLS: believed by the certificate that is given, with its name', async () => {
      const ca = server.certificatePem;
      await expect(moment({ tls: { mode: 'verify-full', ca } })).resolves.toMatchObject({ warnings: [] });
      for (const tls of [{ mode: 'verify-full' as const }, { mode: 'verify-full' as const, ca, serverName: 'elsewhere' }]) {
        await expect(moment({ tls })).rejects.toMatchObject({ code: 'redis_tls_failed' });
      }
    });

    test('nobody there', async () => {
      const gone = await startTestRedisServer();
      await gone[Symbol.asyncDispose]();
      await expect(moment({}, gone)).rejects.toMatchObject({ code: 'redis_unreachable', retry: 'later' });
    });

    test('a server that cannot make its copy: interrupted, to be tried again', async () => {
      await using full = await startTestRedisServer({ settings: ['--repl-diskless-sync', 'no', '--rdb-key-save-delay', '20000'] });
      for (let i = 0; i < 500; i++) await full.command('SET', `key:${i}`, 'x');
      const part = partOf(full);
      await part.takeMoment(never);
      const reading = readWhole(part.source, '/dump.rdb', 100_000);
      reading.catch(() => undefined);
      // The process that makes the copy dies, as it does when the memory or the disk is full.
      const child = await childOf(full.pid);
      process.kill(child, 'SIGKILL');
      await expect(reading).rejects.toMatchObject({ retry: 'later', code: 'redis_interrupted' });
      await part.close();
    });

    test('a replica that lost its master gives no copy', async () => {
      await using replica = await startTestRedisServer();
      await replica.command('REPLICAOF', '127.0.0.1', '1');
      await expect(moment({}, replica)).rejects.toMatchObject({ code: 'redis_busy', retry: 'later' });
    });
  });
});

async function childOf(pid: number): Promise<number> {
  for (;;) {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    const [child] = children.trim().split(' ');
    if (child) return Number(child);
    await delay(10);
  }
}
