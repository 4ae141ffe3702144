// Long because the service's answers, and what may be trusted of them, are tried with one way of opening it.
import { createServer, request as sendRequest, type Server } from 'node:http';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, assert, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { isHolding } from '../hold.ts';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { allPermissions, type GcpPermission, type TestServiceAccountKey } from '../testing/gcp-storage-accounts.ts';
import { makeCertificate } from '../testing/gcp-storage-certificate.ts';
import { type GcpStorageServer, openGcpStorageServer } from '../testing/gcp-storage-server.ts';
import { describeStorageContract } from '../testing/storage-contract.ts';
import { gcpStorageCredentialsSchema, gcpStorageOptionsSchema } from './gcp-storage-options.ts';
import { openGcpStorage } from './gcp-storage-storage.ts';

interface Opening {
  readonly key?: object;
  readonly options?: object;
  readonly metadataOrigin?: string;
}

async function openAt(
  server: GcpStorageServer,
  { key = server.addAccount(), options = {}, metadataOrigin }: Opening = {},
): Promise<Storage> {
  const given = { type: 'gcp_storage', bucket: server.bucketName, endpoint: server.endpoint, ...options };
  const credentials = 'from' in key ? key : { serviceAccountKey: key };
  const storage = await openGcpStorage(
    gcpStorageOptionsSchema.parse(given),
    gcpStorageCredentialsSchema.parse(credentials),
    defaultAdapterSettings,
    metadataOrigin,
  );
  return storage;
}

describeStorageContract('gcp_storage', async () => {
  const server = await openGcpStorageServer();
  const second = await openAt(server, { options: { prefix: 'a/b' } });
  return {
    storage: await openAt(server, { options: { prefix: 'a/b' } }),
    second,
    async dispose() {
      await second.close();
      await server[Symbol.asyncDispose]();
    },
  };
});

describeStorageContract('gcp_storage over TLS, at the top of a bucket', async () => {
  const tls = await makeCertificate();
  const server = await openGcpStorageServer({ tls });
  return {
    storage: await openAt(server, { options: { caCertificate: tls.cert } }),
    dispose: () => server.kill(),
  };
});

describe('a bucket of Google Cloud Storage', () => {
  let server: GcpStorageServer;
  beforeAll(async () => {
    server = await openGcpStorageServer();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  const open = async (opening: Opening = {}): Promise<Storage> => {
    const storage = await openAt(server, opening);
    onTestFinished(() => storage.close());
    return storage;
  };

  it('says which right is missing', async () => {
    const without = (permission: GcpPermission): Promise<Storage> =>
      open({ key: server.addAccount({ permissions: allPermissions.filter((other) => other !== permission) }) });
    await (await open()).put('keys/a', Buffer.from('x'));
    const refused = async (permission: GcpPermission, work: (storage: Storage) => Promise<unknown>): Promise<void> => {
      const error = await failureOf(work(await without(permission)));
      expect(error).toMatchObject({ code: 'storage_denied', context: { status: 403, serverCode: 'forbidden' } });
      expect(error.message).toContain(`Permission '${permission}' denied`);
    };
    await refused('storage.objects.create', (storage) => storage.put('keys/b', Buffer.from('x')));
    await refused('storage.objects.get', (storage) => storage.get('keys/a'));
    await refused('storage.objects.get', (storage) => storage.stat('keys/a'));
    await refused('storage.objects.list', (storage) => Array.fromAsync(storage.list('')));
    await refused('storage.objects.list', (storage) => storage.get('keys/missing'));
    await refused('storage.objects.delete', (storage) => storage.delete('keys/a'));
    await (await without('storage.objects.delete')).put('keys/c', Buffer.from('x'));
  });

  it('says that a key is refused', async () => {
    const key = server.addAccount();
    const other = server.addAccount();
    for (const wrong of [
      { ...key, private_key: other.private_key },
      { ...key, client_email: 'gone@holdfast-test.iam.gserviceaccount.com' },
    ]) {
      const storage = await open({ key: wrong });
      const calls = [storage.put('keys/d', Buffer.from('x')), storage.get('keys/d'), storage.stat('keys/d'), storage.delete('keys/d')];
      for (const error of await Promise.all(calls.map((call) => failureOf(call)))) {
        expect(error).toMatchObject({ code: 'storage_denied', context: { status: 400, serverCode: 'invalid_grant' } });
      }
    }
  });

  it('refuses keys that cannot sign, and keys that lead elsewhere, before anything is sent', async () => {
    const key = server.addAccount();
    const broken = { ...key, private_key: '-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n' };
    expect(await failureOf(open({ key: broken }))).toMatchObject({ code: 'storage_denied' });
    for (const tokenUri of ['https://example.com/token', 'http://127.0.0.1:9/token', 'http://metadata.google.internal/token']) {
      const error = await failureOf(open({ key: { ...key, token_uri: tokenUri } }));
      expect(error).toMatchObject({ code: 'storage_denied' });
      expect(error.hint).toContain('https://oauth2.googleapis.com/token');
    }
  });

  it('says that the bucket is missing, and does not take it for a missing object', async () => {
    const storage = await open({ options: { bucket: 'another-bucket' } });
    const calls = [
      storage.put('keys/a', Buffer.from('x')),
      storage.get('keys/a'),
      storage.stat('keys/a'),
      storage.delete('keys/a'),
      Array.fromAsync(storage.list('')),
    ];
    for (const error of await Promise.all(calls.map((call) => failureOf(call)))) {
      expect(error).toMatchObject({ code: 'storage_denied', context: { status: 404 } });
      expect(error.message).toContain('bucket does not exist');
    }
  });

  it('gets one token for many calls, and a new one when it is refused', async () => {
    const storage = await open();
    const before = server.grantedTokenCount;
    await Promise.all(Array.from({ length: 20 }, (_, index) => storage.put(`keys/t${String(index)}`, Buffer.from('x'))));
    expect(server.grantedTokenCount - before).toBe(1);
    server.expireTokens();
    expect(await storage.get('keys/t1')).toEqual(Buffer.from('x'));
    server.expireTokens();
    await storage.put('keys/after', Buffer.alloc(3_000_000));
    expect(server.grantedTokenCount - before).toBe(3);
  });

  it('renews a token before its time is over', async () => {
    await using brief = await openGcpStorageServer({ tokenLifeS: 1 });
    const storage = await openAt(brief);
    const until = performance.now() + 2500;
    while (performance.now() < until) {
      await storage.stat('keys/a').catch((error: unknown) => expect(isHoldfastError(error, 'storage_object_missing')).toBe(true));
      await sleep(20);
    }
    expect(brief.grantedTokenCount).toBeGreaterThanOrEqual(4);
    await storage.close();
  });

  it('has the service refuse an upload that was damaged on the way, and takes it for a passing fault', async () => {
    const storage = await open();
    server.damageNext(1, 'upload');
    expect(await failureOf(storage.put('data/aa/damaged', Buffer.from('whole')))).toMatchObject({ code: 'storage_unreachable' });
    await expect(storage.stat('data/aa/damaged')).rejects.toSatisfy(hasCode('storage_object_missing'));
    await storage.put('data/aa/damaged', Buffer.from('whole'));
    server.damageNext(1, 'download');
    expect(await failureOf(storage.get('data/aa/damaged'))).toMatchObject({ code: 'storage_unreachable' });
    expect(Buffer.from(await storage.get('data/aa/damaged')).toString()).toBe('whole');
  });

  it.each<[number, string, ErrorCode]>([
    [429, 'rateLimitExceeded', 'storage_unreachable'],
    [503, 'backendError', 'storage_unreachable'],
    [500, 'internalError', 'storage_unreachable'],
    [403, 'userRateLimitExceeded', 'storage_unreachable'],
    [403, 'quotaExceeded', 'storage_full'],
    [403, 'accountDisabled', 'storage_denied'],
  ])('tells %i %s', async (status, reason, code) => {
    const storage = await open();
    const calls: (() => Promise<unknown>)[] = [
      () => storage.put('keys/told', Buffer.alloc(1_000_000)),
      () => storage.get('keys/told'),
      () => storage.get('keys/told', { range: { offsetBytes: 1, lengthBytes: 1 } }),
      () => storage.stat('keys/told'),
      () => storage.delete('keys/told'),
      () => Array.fromAsync(storage.list('')),
    ];
    for (const call of calls) {
      server.refuseNext(1, status, reason, 'not now');
      const error = await failureOf(call());
      expect(error).toMatchObject({ code, context: { status, serverCode: reason } });
    }
  });

  it('gives packs a class, and all but locks a time of retention', async () => {
    const kmsKeyName = 'projects/p/locations/eu/keyRings/r/cryptoKeys/k';
    const key = server.addAccount({ permissions: [...allPermissions, 'storage.objects.setRetention'] });
    const options = { prefix: 'kept', storageClass: 'NEARLINE', kmsKeyName, retention: { days: 30, mode: 'locked' } };
    const storage = await open({ key, options });
    await storage.put('data/ab/kept', Buffer.from('x'));
    await storage.put('locks/free', Buffer.from('x'));
    await storage.put('index/kept', Buffer.from('x'));
    const kept = server.bucket.objects.get('kept/data/ab/kept');
    expect(kept).toMatchObject({ storageClass: 'NEARLINE', kmsKeyName, retention: { mode: 'Locked' } });
    const days = (Date.parse(kept?.retention?.retainUntilTime ?? '') - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(29.9);
    expect(days).toBeLessThan(30.1);
    expect(server.bucket.objects.get('kept/locks/free')).toMatchObject({ storageClass: 'STANDARD', kmsKeyName, retention: undefined });
    expect(server.bucket.objects.get('kept/index/kept')).toMatchObject({ storageClass: 'STANDARD', retention: { mode: 'Locked' } });
    await storage.delete('locks/free');
    const error = await failureOf(storage.delete('data/ab/kept'));
    const retainUntilTime = kept?.retention?.retainUntilTime ?? '';
    const freeAt = new Date(retainUntilTime).toISOString();
    expect(error).toMatchObject({ code: 'storage_object_held', context: { freeAt } });
    assert(isHolding(storage));
    expect(await storage.holdOf('data/ab/kept')).toEqual({ freeAt: new Date(freeAt) });
    expect(await storage.holdOf('locks/free')).toBeUndefined();
    // Whose options know of no retention asks the service, which refuses.
    const unaware = await open({ key, options: { prefix: 'kept' } });
    expect(isHolding(unaware)).toBe(false);
    expect(await failureOf(unaware.delete('data/ab/kept'))).toMatchObject({
      code: 'storage_object_held',
      context: { freeAt, serverCode: 'retentionPolicyNotMet' },
    });
  });

  it('sees its own prefix, and of that only objects of a repository', async () => {
    const storage = await open({ options: { prefix: 'mine' } });
    const [top, beside] = [await open(), await open({ options: { prefix: 'mine2' } })];
    await storage.put('config', Buffer.from('mine'));
    await beside.put('config', Buffer.from('beside'));
    for (const name of [
      'mine/',
      'mine/data/',
      'mine/README.txt',
      'mine/data/00/a-tmp-1',
      'mine/a/b/c/d',
      'mine/data//x',
      'min/config',
      'mineconfig',
    ]) {
      server.bucket.insert(name, {}, Buffer.from('foreign'), { ifGenerationMatch: null, kmsKeyName: null, mayReplace: () => undefined });
    }
    expect((await Array.fromAsync(storage.list(''))).map(({ name }) => name)).toEqual(['config']);
    expect(await Array.fromAsync(storage.list('data/'))).toEqual([]);
    expect(Buffer.from(await storage.get('config')).toString()).toBe('mine');
    expect((await Array.fromAsync(top.list(''))).map(({ name }) => name)).toContain('mine/config');
  });

  it('opens no more connections than it may', async () => {
    await using counted = await openGcpStorageServer();
    const options = gcpStorageOptionsSchema.parse({ type: 'gcp_storage', bucket: counted.bucketName, endpoint: counted.endpoint });
    const credentials = gcpStorageCredentialsSchema.parse({ serviceAccountKey: counted.addAccount() });
    const storage = await openGcpStorage(options, credentials, { ...defaultAdapterSettings, maxConnections: 3 });
    await Promise.all(Array.from({ length: 30 }, (_, index) => storage.put(`keys/${String(index)}`, Buffer.alloc(100_000))));
    expect(counted.mostConnections).toBe(3);
    await storage.close();
  });

  it('takes back what an abort left when all was sent already', async () => {
    await using slow = await openGcpStorageServer();
    const storage = await openAt(slow);
    await storage.put('keys/before', Buffer.from('x'));
    slow.setAnswerDelayMs(1500);
    const controller = new AbortController();
    const reason = new Error('stop');
    const put = failureOf(storage.put('data/aa/late', Buffer.from('x'), { signal: controller.signal }), reason);
    while (!slow.bucket.objects.has('data/aa/late')) await sleep(5);
    const abortedAtMs = performance.now();
    controller.abort(reason);
    await put;
    expect(performance.now() - abortedAtMs).toBeLessThan(1000);
    await storage.close();
    expect([...slow.bucket.objects.keys()]).toEqual(['keys/before']);
  });

  it('lets go of a call that still waits for a connection', async () => {
    await using slow = await openGcpStorageServer();
    const options = gcpStorageOptionsSchema.parse({ type: 'gcp_storage', bucket: slow.bucketName, endpoint: slow.endpoint });
    const credentials = gcpStorageCredentialsSchema.parse({ serviceAccountKey: slow.addAccount() });
    const storage = await openGcpStorage(options, credentials, { ...defaultAdapterSettings, maxConnections: 1 });
    await storage.put('keys/a', Buffer.from('x'));
    slow.setAnswerDelayMs(1500);
    const first = storage.get('keys/a');
    const controller = new AbortController();
    const reason = new Error('stop');
    const waiting = [
      failureOf(storage.put('keys/b', Buffer.alloc(1_000_000), { signal: controller.signal }), reason),
      failureOf(storage.get('keys/a', { signal: controller.signal }), reason),
    ];
    await sleep(50);
    const abortedAtMs = performance.now();
    controller.abort(reason);
    await Promise.all(waiting);
    expect(performance.now() - abortedAtMs).toBeLessThan(500);
    await first;
    slow.setAnswerDelayMs(0);
    await storage.put('keys/c', Buffer.from('x'));
    expect([...slow.bucket.objects.keys()]).toEqual(['keys/a', 'keys/c']);
    await storage.close();
  });
});

describe('what an adapter of Google Cloud Storage trusts', () => {
  it('takes the account of the machine where it is asked to', async () => {
    await using server = await openGcpStorageServer();
    const storage = await openAt(server, { key: { from: 'instance_role' }, metadataOrigin: server.endpoint });
    await storage.put('config', Buffer.from('x'));
    expect(server.grantedTokenCount).toBe(1);
    expect(await storage.get('config')).toEqual(Buffer.from('x'));
    await storage.close();
  });

  it('refuses a certificate that it was not told to trust, and one of another name', async () => {
    const tls = await makeCertificate();
    const other = await makeCertificate();
    await using server = await openGcpStorageServer({ tls });
    const byName = server.endpoint.replace('127.0.0.1', 'localhost');
    for (const [options, key] of [
      [{}, server.addAccount()],
      [{ caCertificate: other.cert }, server.addAccount()],
      [{ caCertificate: tls.cert, endpoint: byName }, server.addAccount({ origin: byName })],
    ] as const) {
      const storage = await openAt(server, { key, options });
      const error = await failureOf(storage.put('config', Buffer.from('x')));
      expect(error).toMatchObject({ code: 'storage_denied' });
      expect(error.hint).toContain('caCertificate');
      await storage.close();
    }
    expect(server.grantedTokenCount).toBe(0);
  });

  it('follows no redirect, and takes no other answer for that of the API', async () => {
    await using server = await openGcpStorageServer();
    const key = server.addAccount();
    let visits = 0;
    const trap = await listening(createServer((_request, response) => void response.end(String((visits += 1)))));
    for (const [status, headers, code] of [
      [302, { location: trap.origin }, 'storage_denied'],
      [307, { location: trap.origin }, 'storage_denied'],
      [200, { 'content-type': 'text/html' }, 'storage_unreachable'],
    ] as const) {
      const strange = await listening(
        createServer((request, response) => {
          if (request.url === '/token') response.end(JSON.stringify({ access_token: 'token', expires_in: 3600 }));
          else request.resume().on('end', () => response.writeHead(status, headers).end('<html></html>'));
        }),
      );
      const storage = await openAt(server, {
        key: { ...key, token_uri: `${strange.origin}/token` },
        options: { endpoint: strange.origin },
      });
      expect(await failureOf(storage.put('config', Buffer.from('x')))).toMatchObject({ code });
      expect(await failureOf(storage.stat('config'))).toMatchObject({ code });
      expect(await failureOf(Array.fromAsync(storage.list('')))).toMatchObject({ code });
      await storage.close();
    }
    expect(visits).toBe(0);
  });

  it('refuses a range that is another than the one asked for, and an object that is longer than it says', async () => {
    await using server = await openGcpStorageServer();
    const key = server.addAccount();
    const whole = Buffer.alloc(100, 1);
    for (const [status, headers] of [
      [200, {}],
      [206, { 'content-range': 'bytes 0-99/100' }],
      [206, { 'content-range': 'bytes 10-19/100' }],
      [206, {}],
    ] as const) {
      const strange = await listening(
        createServer((request, response) => {
          if (request.url === '/token') response.end(JSON.stringify({ access_token: 'token', expires_in: 3600 }));
          else response.writeHead(status, headers).end(whole);
        }),
      );
      const storage = await openAt(server, {
        key: { ...key, token_uri: `${strange.origin}/token` },
        options: { endpoint: strange.origin },
      });
      const range = { offsetBytes: 10, lengthBytes: 10 };
      expect(await failureOf(storage.get('config', { range }))).toMatchObject({ code: 'storage_denied' });
      await storage.close();
    }
  });

  it('goes through a proxy when one is given, for tokens too', async () => {
    await using server = await openGcpStorageServer();
    const seen: string[] = [];
    const proxy = await listening(
      createServer((request, response) => {
        seen.push(`${request.method ?? ''} ${request.url ?? ''}`);
        const onward = sendRequest(new URL(request.url ?? ''), { method: request.method ?? 'GET', headers: request.headers }, (answer) => {
          response.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(response);
        });
        request.pipe(onward);
      }),
    );
    const storage = await openAt(server, { options: { proxy: proxy.origin } });
    await storage.put('config', Buffer.from('x'));
    expect(seen).toHaveLength(2);
    expect(seen[0]).toBe(`POST ${server.endpoint}/token`);
    await storage.close();
  });

  it('lets no secret into an error, whatever a server echoes', async () => {
    await using server = await openGcpStorageServer();
    const key = server.addAccount();
    const echo = await listening(
      createServer((request, response) => {
        void (async () => {
          const chunks: Buffer[] = [];
          for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
          if (request.url === '/token' && key.private_key !== '') {
            response.end(JSON.stringify({ access_token: server.issueToken(key), expires_in: 3600 }));
            return;
          }
          const message = `${JSON.stringify(request.headers)} ${Buffer.concat(chunks).toString('latin1')}`;
          response.writeHead(403).end(JSON.stringify({ error: { code: 403, message, errors: [{ reason: message }] } }));
        })();
      }),
    );
    const storages = [
      await openAt(server, { key: { ...key, token_uri: `${echo.origin}/token` }, options: { endpoint: echo.origin } }),
      await openAt(server, { key: { ...key, token_uri: `${echo.origin}/elsewhere` }, options: { endpoint: echo.origin } }),
      await openAt(server, { key: { ...key, private_key: server.addAccount().private_key } }),
      await openAt(server, { key, options: { bucket: 'another-bucket' } }),
    ];
    for (const storage of storages) {
      const calls = [storage.put('config', Buffer.from('x')), storage.get('config'), Array.fromAsync(storage.list(''))];
      for (const error of await Promise.all(calls.map((call) => failureOf(call)))) assertNoSecret(error, key);
      await storage.close();
    }
  });
});

function assertNoSecret(error: unknown, key: TestServiceAccountKey): void {
  const shown = `${inspect(error, { depth: Infinity, showHidden: true, maxStringLength: null })} ${JSON.stringify(error)}`;
  expect(shown).not.toMatch(/PRIVATE KEY|ya29\.c\.[\w-]{20}|assertion=ey|eyJ[\w-]{20}/u);
  for (const line of key.private_key.split('\n').filter((text) => text.length > 20)) expect(shown).not.toContain(line.slice(0, 30));
}

async function failureOf(work: Promise<unknown>, expected?: unknown): Promise<HoldfastError> {
  try {
    await work;
  } catch (error) {
    if (expected === undefined) expect(error).toBeInstanceOf(HoldfastError);
    else expect(error).toBe(expected);
    return error as HoldfastError;
  }
  throw new Error('it did not fail');
}

async function listening(server: Server): Promise<{ readonly origin: string }> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    server.closeAllConnections();
  });
  return { origin: `http://127.0.0.1:${String((server.address() as { port: number }).port)}` };
}

function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => isHoldfastError(error, code);
}
