import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Storage } from '../storage.ts';
import { openScriptedS3, refuse, type S3Script, type ScriptedS3 } from '../testing/scripted-s3.ts';
import type { S3Credentials, S3Options } from './s3-options.ts';
import { openS3Storage, type S3Surroundings } from './s3-storage.ts';

const settings = { idleTimeoutMs: 10_000, maxConnections: 4 };
const keys = { accessKeyId: 'AKIA', secretAccessKey: 'very-secret-key', sessionToken: 'session-token-text' };
const small = Buffer.from('small');
/** More than what a server is asked with whether it heeds conditions. */
const large = randomBytes(200_000);

const open = (
  server: ScriptedS3,
  more: Partial<S3Options> = {},
  credentials: S3Credentials = keys,
  surroundings?: S3Surroundings,
): Promise<Storage> =>
  openS3Storage(
    { type: 's3', endpoint: server.endpoint, region: 'us-east-1', bucket: 'bucket', ...more },
    credentials,
    settings,
    surroundings,
  );

const whats = (server: ScriptedS3): string[] =>
  server.requests.map(({ what, headers }) => `${what}${headers['if-none-match'] === undefined ? '' : ' if none'}`);

const code = (name: Parameters<typeof isHoldfastError>[1]) => (error: unknown) => isHoldfastError(error, name);

describe('a put', () => {
  it('asks a server once whether it heeds conditions, and relies on them then', async () => {
    await using server = await openScriptedS3();
    const storage = await open(server);
    await storage.put('locks/aa', small);
    await storage.put('data/ab/ab', large);
    await expect(storage.put('data/ab/ab', large)).rejects.toSatisfy(code('storage_object_exists'));
    const ask = ['HEAD locks/aa', 'PUT locks/aa if none', 'PUT locks/aa if none'];
    expect(whats(server)).toEqual([...ask, 'PUT data/ab/ab if none', 'PUT data/ab/ab if none']);
  });

  it('looks first at a server that passes over conditions', async () => {
    await using server = await openScriptedS3({ condition: 'ignored' });
    const storage = await open(server);
    await storage.put('locks/aa', small);
    await storage.put('data/ab/ab', large);
    await expect(storage.put('data/ab/ab', small)).rejects.toSatisfy(code('storage_object_exists'));
    const ask = ['HEAD locks/aa', 'PUT locks/aa if none', 'PUT locks/aa if none'];
    expect(whats(server)).toEqual([...ask, 'HEAD data/ab/ab', 'PUT data/ab/ab', 'HEAD data/ab/ab']);
    expect(server.objects.get('data/ab/ab')?.equals(large)).toBe(true);
  });

  it('looks first at a server that refuses conditions, whose refusal nobody sees', async () => {
    await using server = await openScriptedS3({ condition: 'refused' });
    const storage = await open(server);
    await storage.put('data/ab/ab', large);
    await Promise.all(['locks/aa', 'locks/ab'].map((name) => storage.put(name, small)));
    await storage.put('locks/ac', small);
    expect(whats(server).slice(0, 2)).toEqual(['HEAD data/ab/ab', 'PUT data/ab/ab']);
    expect(whats(server).slice(-2)).toEqual(['HEAD locks/ac', 'PUT locks/ac']);
    expect(whats(server).filter((what) => what.endsWith('if none'))).toHaveLength(1);
    expect([...server.objects.keys()].toSorted()).toEqual(['data/ab/ab', 'locks/aa', 'locks/ab', 'locks/ac']);
  });

  it('may be tried again while another one of its name is under way', async () => {
    await using server = await openScriptedS3({ condition: 'conflict' });
    await expect((await open(server)).put('locks/aa', small)).rejects.toSatisfy(code('storage_unreachable'));
  });

  it('sends hashes of its body, and nothing that only Amazon understands', async () => {
    await using server = await openScriptedS3();
    const storage = await open(server, { prefix: 'a/b' });
    for (const parts of [[large.subarray(0, 1), large.subarray(1)], []]) {
      server.requests.length = 0;
      await storage.put(`data/ab/${String(parts.length)}`, parts);
      const whole = Buffer.concat(parts);
      const put = server.requests.find(({ what }) => what === `PUT a/b/data/ab/${parts.length}`);
      expect(put?.body.equals(whole)).toBe(true);
      expect(put?.headers).toMatchObject({
        'content-length': String(whole.byteLength),
        'x-amz-content-sha256': createHash('sha256').update(whole).digest('hex'),
      });
      const unwanted = [
        'expect',
        'content-md5',
        'transfer-encoding',
        'content-encoding',
        'x-amz-trailer',
        'x-amz-sdk-checksum-algorithm',
        'x-amz-checksum-crc32',
      ];
      expect(Object.keys(put?.headers ?? {}).filter((name) => unwanted.includes(name))).toEqual([]);
    }
  });

  it('is sent with the hash that its caller knows, and over what has that name already where it cannot be told to be refused', async () => {
    await using server = await openScriptedS3({ condition: 'ignored' });
    const storage = await open(server);
    await storage.put('locks/aa', small);
    const sha256 = createHash('sha256').update(large).digest('hex');
    for (let count = 0; count < 2; count++) await storage.put(`data/ab/${sha256}`, large, { sha256 });
    await expect(storage.put('locks/aa', small, { sha256 })).rejects.toSatisfy(code('storage_object_exists'));
    expect(whats(server).slice(3)).toEqual([`PUT data/ab/${sha256}`, `PUT data/ab/${sha256}`, 'HEAD locks/aa']);
    expect(server.requests.at(-2)?.headers).toMatchObject({ 'x-amz-content-sha256': sha256 });
  });

  it('is sent with its MD5 where objects are locked, be it that the server says so first', async () => {
    const answer: S3Script['answer'] = ({ what, headers }, response) => {
      if (!what.startsWith('PUT') || headers['content-md5'] !== undefined) return false;
      return refuse(response, 400, 'InvalidRequest', 'Content-MD5 OR x-amz-checksum- HTTP header is required with Object Lock');
    };
    await using server = await openScriptedS3({ answer });
    const md5 = createHash('md5').update(large).digest('base64');
    for (const [more, count] of [
      [{}, 2],
      [{ objectLock: { mode: 'governance', days: 1 } }, 1],
    ] as const) {
      server.requests.length = 0;
      server.objects.clear();
      const storage = await open(server, more);
      for (const name of ['data/ab/aa', 'data/ab/ab']) await storage.put(name, large);
      const puts = server.requests.filter(({ what }) => what.startsWith('PUT'));
      expect(puts.map(({ headers }) => headers['content-md5'])).toEqual([...Array.from({ length: count - 1 }, () => undefined), md5, md5]);
    }
  });

  it('asks for class, encryption and lock where they belong', async () => {
    await using server = await openScriptedS3();
    const more: Partial<S3Options> = {
      storageClass: 'STANDARD_IA',
      serverSideEncryption: 'aws:kms',
      kmsKeyId: 'key',
      objectLock: { mode: 'compliance', days: 30 },
    };
    const storage = await open(server, more, keys, { now: () => new Date('2026-01-01T00:00:00Z') });
    const names = ['locks/aa', 'config', 'keys/aa', 'index/aa', 'snapshots/aa', 'data/ab/ab', 'trial/aa'];
    for (const name of names) await storage.put(name, small);
    for (const name of names) {
      const headers = server.requests.find(({ what }) => what === `PUT ${name}`)?.headers ?? {};
      const isLocked = !name.startsWith('locks/') && !name.startsWith('trial/');
      expect(headers['x-amz-storage-class']).toBe(name.startsWith('data/') ? 'STANDARD_IA' : undefined);
      expect(headers).toMatchObject({ 'x-amz-server-side-encryption': 'aws:kms', 'x-amz-server-side-encryption-aws-kms-key-id': 'key' });
      expect(headers['x-amz-object-lock-mode']).toBe(isLocked ? 'COMPLIANCE' : undefined);
      expect(headers['x-amz-object-lock-retain-until-date']?.slice(0, 19)).toBe(isLocked ? '2026-01-31T00:00:00' : undefined);
    }
  });

  it('is refused where a lock that was asked for is passed over, and leaves nothing', async () => {
    await using server = await openScriptedS3({ keepsLocks: false });
    const storage = await open(server, { objectLock: { mode: 'governance', days: 1 } });
    await expect(storage.put('config', small)).rejects.toMatchObject({
      code: 'storage_denied',
      message: expect.stringContaining('without the object lock'),
    });
    expect([...server.objects.keys()]).toEqual([]);
  });

  it('that is aborted when the server has all of it waits for the answer, for a moment', async () => {
    for (const [answersAfterMs, isStored] of [
      [150, true],
      [5_000, false],
    ] as const) {
      const answer: S3Script['answer'] = async ({ what }) => {
        if (what.startsWith('PUT')) await sleep(answersAfterMs, undefined, { ref: false });
        return false;
      };
      await using server = await openScriptedS3({ answer });
      const storage = await open(server);
      const controller = new AbortController();
      const settled = Promise.allSettled([storage.put('data/ab/ab', large, { signal: controller.signal })]);
      await vi.waitUntil(() => whats(server).includes('PUT data/ab/ab'));
      const abortedAtMs = performance.now();
      controller.abort(new Error('stop'));
      expect((await settled)[0].status).toBe(isStored ? 'fulfilled' : 'rejected');
      expect(performance.now() - abortedAtMs).toBeLessThan(900);
      await storage.close();
    }
  });
});

describe('an answer that no honest server gives', () => {
  const get = (storage: Storage): Promise<unknown> => storage.get('data/ab/ab');
  const range = (storage: Storage): Promise<unknown> => storage.get('data/ab/ab', { range: { offsetBytes: 2, lengthBytes: 3 } });
  const list = (storage: Storage): Promise<unknown> => Array.fromAsync(storage.list(''));

  it.each<[string, (storage: Storage) => Promise<unknown>, Exclude<S3Script['answer'], undefined>, string]>([
    ['a page instead of a listing', list, (_, response) => response.end('<html><body>Welcome</body></html>'), 'storage_unreachable'],
    ['text instead of a listing', list, (_, response) => response.end('Welcome'), 'storage_unreachable'],
    ['nothing instead of a listing', list, (_, response) => response.end(), 'storage_unreachable'],
    [
      'a listing that goes on nowhere',
      list,
      (_, response) => response.end('<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>'),
      'storage_unreachable',
    ],
    [
      'a listing that goes on where it was',
      list,
      (_, response) =>
        response.end(
          '<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken></ListBucketResult>',
        ),
      'storage_unreachable',
    ],
    ['a listing without end', list, (_, response) => response.end(Buffer.alloc(17 * 1024 * 1024, ' ')), 'storage_unreachable'],
    ['a page as an error', get, (_, response) => response.writeHead(502).end('<html><hr>Bad gateway</html>'), 'storage_unreachable'],
    ['a page that forbids', get, (_, response) => response.writeHead(403).end('Forbidden'), 'storage_denied'],
    [
      'an object without its length',
      get,
      (_, response) => response.writeHead(200, { 'transfer-encoding': 'chunked' }).end('abc'),
      'storage_denied',
    ],
    [
      'an object that is too large',
      get,
      (_, response) => response.writeHead(200, { 'content-length': 2 ** 40 }).flushHeaders(),
      'storage_denied',
    ],
    [
      'an object that is cut off',
      get,
      (_, response) => response.writeHead(200, { 'content-length': 9 }).write('abc', () => response.destroy()),
      'storage_unreachable',
    ],
    [
      'another range',
      range,
      (_, response) => response.writeHead(206, { 'content-length': 3, 'content-range': 'bytes 0-2/9' }).end('abc'),
      'storage_unreachable',
    ],
    [
      'less than the range',
      range,
      (_, response) => response.writeHead(206, { 'content-length': 2, 'content-range': 'bytes 2-3/4' }).end('cd'),
      'storage_object_too_short',
    ],
    ['a whole object that is too short', range, (_, response) => response.end('abcd'), 'storage_object_too_short'],
  ])('%s', async (_, call, answer, expected) => {
    await using server = await openScriptedS3({ answer });
    const storage = await open(server);
    await expect(call(storage)).rejects.toMatchObject({ code: expected });
    await storage.close();
  });

  it('is a whole object for a range, of which the range is taken', async () => {
    await using server = await openScriptedS3({ answer: (_, response) => response.end('abcdef') });
    expect(Buffer.from((await range(await open(server))) as Uint8Array).toString()).toBe('cde');
  });

  it('leads to another host, and is not followed', async () => {
    await using other = await openScriptedS3();
    const location = `${other.endpoint}/bucket/`;
    const answer: S3Script['answer'] = (_, response) => {
      response.writeHead(307, { location, 'x-amz-bucket-region': 'eu-west-1' });
      return response.end(`<Error><Code>PermanentRedirect</Code><Endpoint>${other.endpoint}</Endpoint></Error>`);
    };
    await using server = await openScriptedS3({ answer });
    const storage = await open(server);
    for (const call of [get, list, (one: Storage) => one.stat('config'), (one: Storage) => one.put('config', small)]) {
      await expect(call(storage)).rejects.toMatchObject({
        code: 'storage_denied',
        message: expect.stringContaining('in the region eu-west-1'),
      });
    }
    expect(other.requests).toEqual([]);
  });

  it('holds keys that are no objects of a repository, which are passed over', async () => {
    await using server = await openScriptedS3();
    for (const key of ['p/keys/aa', 'p/keys/', 'p/keys/a b', 'p/../keys/ab', 'p/.tmp-1', 'keys/aa', 'pq/keys/aa'])
      server.objects.set(key, small);
    const storage = await open(server, { prefix: 'p' });
    expect(await Array.fromAsync(storage.list(''))).toEqual([
      { name: 'keys/aa', sizeBytes: 5, modifiedAt: new Date('2026-11-26T11:00:00Z') },
    ]);
    expect(await storage.stat('keys/aa')).toEqual({ name: 'keys/aa', sizeBytes: 5, modifiedAt: new Date('2026-11-26T11:00:00Z') });
  });
});

describe('credentials', () => {
  afterEach(() => vi.unstubAllEnvs());
  const environment = { AWS_ACCESS_KEY_ID: 'WORKER', AWS_SECRET_ACCESS_KEY: 'w', AWS_SESSION_TOKEN: 't' };

  it('of the worker itself are for operators to allow', async () => {
    await using server = await openScriptedS3();
    for (const from of ['environment', 'instance_role'] as const) {
      await expect(open(server, {}, { from }, { environment })).rejects.toMatchObject({
        code: 'storage_denied',
        hint: expect.stringContaining('operator'),
      });
    }
    const storage = await open(server, {}, { from: 'environment' }, { allowAmbient: true, environment });
    await storage.delete('locks/aa');
    expect(server.requests[0]?.headers).toMatchObject({
      'x-amz-security-token': 't',
      authorization: expect.stringContaining('Credential=WORKER/'),
    });
    await expect(open(server, {}, { from: 'environment' }, { allowAmbient: true, environment: {} })).rejects.toMatchObject({
      code: 'storage_denied',
    });
  });

  it('and the environment of the worker turn no request of a tenant', async () => {
    await using other = await openScriptedS3();
    await using server = await openScriptedS3();
    for (const [name, value] of Object.entries({
      ...environment,
      AWS_ENDPOINT_URL: other.endpoint,
      AWS_ENDPOINT_URL_S3: other.endpoint,
      AWS_REGION: 'xx',
    })) {
      vi.stubEnv(name, value);
    }
    vi.stubEnv('HTTP_PROXY', other.endpoint);
    await (await open(server)).delete('locks/aa');
    expect(other.requests).toEqual([]);
    expect(server.requests[0]?.headers.authorization).toMatch(/Credential=AKIA\/\d+\/us-east-1\//u);
  });

  it('are in no error, whatever the server says back', async () => {
    const answer: S3Script['answer'] = ({ headers }, response) => {
      const told = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}`);
      for (const [name, value] of Object.entries(headers))
        if (name.startsWith('x-amz-')) response.setHeader(`x-told-${name}`, String(value));
      return refuse(response, 403, 'SignatureDoesNotMatch', `${told.join(' ')} ${keys.secretAccessKey}`);
    };
    await using server = await openScriptedS3({ answer });
    const storage = await open(server);
    const calls = [
      () => storage.put('data/ab/ab', large),
      () => storage.get('data/ab/ab'),
      () => storage.stat('data/ab/ab'),
      () => storage.delete('data/ab/ab'),
      () => Array.fromAsync(storage.list('')),
    ];
    for (const call of calls) {
      const error: unknown = await call().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toSatisfy(code('storage_denied'));
      const seen = `${inspect(error, { depth: null, showHidden: true, getters: true })} ${JSON.stringify(error)}`;
      for (const secret of [keys.secretAccessKey, keys.sessionToken, 'AWS4-HMAC', 'Signature=']) expect(seen).not.toContain(secret);
    }
  });
});

describe('many calls', () => {
  it('take no more connections than they may', async () => {
    let [openCount, mostCount] = [0, 0];
    const answer: S3Script['answer'] = async () => {
      mostCount = Math.max(mostCount, (openCount += 1));
      await sleep(5);
      openCount -= 1;
      return false;
    };
    await using server = await openScriptedS3({ answer });
    const storage = await open(server);
    await Promise.all(Array.from({ length: 40 }, (_, number) => storage.put(`keys/${number}`, small)));
    expect(mostCount).toBe(settings.maxConnections);
    await storage.close();
    await storage.close();
  });
});
