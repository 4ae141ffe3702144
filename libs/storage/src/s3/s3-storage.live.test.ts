import { once } from 'node:events';
import { createServer, request as sendRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { type S3Server, startS3Server } from '../testing/s3-server.ts';
import { describeStorageContract } from '../testing/storage-contract.ts';
import { openTlsFront } from '../testing/tls-front.ts';
import type { S3Options } from './s3-options.ts';
import { openS3Storage } from './s3-storage.ts';

const serverStarts: Promise<S3Server> = startS3Server();
let server: S3Server;
beforeAll(async () => {
  server = await serverStarts;
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const open = async (bucket: string, more: Partial<S3Options> = {}, credentials = server.credentials): Promise<Storage> =>
  openS3Storage(
    { type: 's3', endpoint: server.endpoint, region: server.region, bucket, prefix: 'shop/a', ...more },
    credentials,
    defaultAdapterSettings,
  );

describeStorageContract('s3', async () => {
  // The suites begin side by side.
  server = await serverStarts;
  const bucket = await server.makeBucket();
  // What lies beside must not be seen.
  await server.putForeign(bucket, 'shop/ab/keys/aa');
  await server.putForeign(bucket, 'config');
  await server.putForeign(bucket, 'shop/a/keys/with blank + and % and \u0001');
  return { storage: await open(bucket), second: await open(bucket), exclusivePut: 'checked', dispose: async () => undefined };
});

describe('a bucket of Swift', () => {
  const calls: [string, (storage: Storage) => Promise<unknown>][] = [
    ['put', (storage) => storage.put('keys/aa', Buffer.from('x'))],
    ['large put', (storage) => storage.put('data/ab/ab', Buffer.alloc(3_000_000))],
    ['get', (storage) => storage.get('keys/ab')],
    ['stat', (storage) => storage.stat('keys/ab')],
    ['list', (storage) => Array.fromAsync(storage.list('keys/'))],
    ['delete', (storage) => storage.delete('keys/ab')],
  ];

  it.each(calls)('says what is wrong with its %s', async (_, call) => {
    const bucket = await server.makeBucket();
    const wrong: [Partial<S3Options>, typeof server.credentials, string][] = [
      [{ bucket: 'nobodys' }, server.credentials, 'NoSuchBucket: there is no bucket nobodys'],
      [{}, { ...server.credentials, secretAccessKey: 'guessed' }, 'SignatureDoesNotMatch'],
      [{}, { ...server.credentials, accessKeyId: 'test:nobody' }, 'SignatureDoesNotMatch'],
      [{}, server.strangerCredentials, 'AccessDenied'],
      [{ region: 'eu-central-9' }, server.credentials, 'the bucket bucket-'],
    ];
    for (const [more, credentials, message] of wrong) {
      const storage = await open(bucket, more, credentials);
      await expect(call(storage)).rejects.toMatchObject({ code: 'storage_denied', message: expect.stringContaining(message) });
      await storage.close();
    }
  });

  it('refuses what it does not have, by name', async () => {
    const bucket = await server.makeBucket();
    const put = async (more: Partial<S3Options>): Promise<void> => (await open(bucket, more)).put('data/ab/ab', Buffer.from('x'));
    await expect(put({ serverSideEncryption: 'AES256' })).rejects.toMatchObject({
      code: 'storage_denied',
      context: { serverCode: 'NotImplemented' },
    });
    await expect(put({ storageClass: 'STANDARD_IA' })).rejects.toMatchObject({
      code: 'storage_denied',
      context: { serverCode: 'InvalidStorageClass' },
    });
    await expect(put({ objectLock: { mode: 'compliance', days: 1 } })).rejects.toMatchObject({
      code: 'storage_denied',
      message: expect.stringContaining('without the object lock'),
    });
    expect(await Array.fromAsync((await open(bucket)).list(''))).toEqual([]);
    await put({ storageClass: 'STANDARD' });
  });

  it('says that a quota is used up, and goes on with what fits', async () => {
    const bucket = await server.makeBucket();
    await server.setQuota(bucket, 100_000);
    const storage = await open(bucket);
    await expect(storage.put('data/ab/ab', Buffer.alloc(100_001))).rejects.toMatchObject({ code: 'storage_full' });
    // Refused before they were sent whole, and more of them than there are connections.
    const large = Buffer.alloc(8_000_000);
    for (let count = 0; count < 2 * defaultAdapterSettings.maxConnections; count += 1) {
      await expect(storage.put(`data/ab/${count}`, large)).rejects.toMatchObject({
        code: expect.stringMatching(/^storage_(?:full|unreachable)$/u),
      });
    }
    expect(await Array.fromAsync(storage.list(''))).toEqual([]);
    await storage.put('data/ab/ab', Buffer.alloc(50_000));
    expect((await storage.stat('data/ab/ab')).sizeBytes).toBe(50_000);
  });

  it('speaks TLS with an authority that is given, and with no other', async () => {
    const bucket = await server.makeBucket();
    await using front = await openTlsFront(server);
    await using strange = await openTlsFront(server);
    const endpoint = `https://127.0.0.1:${front.port}`;
    const storage = await open(bucket, { endpoint, caCertificate: front.caCertificate });
    const bytes = Buffer.alloc(5_000_000, 'tls');
    await storage.put('data/ab/ab', bytes);
    expect(bytes.equals(await storage.get('data/ab/ab'))).toBe(true);
    await storage.close();
    for (const more of [
      {},
      { caCertificate: strange.caCertificate },
      { endpoint: `https://localhost:${front.port}`, caCertificate: front.caCertificate },
    ]) {
      const other = await open(bucket, { endpoint, ...more });
      await expect(other.get('data/ab/ab')).rejects.toMatchObject({ code: 'storage_denied', hint: expect.stringContaining('certificate') });
      await expect(other.put('data/ab/ac', bytes)).rejects.toMatchObject({ code: 'storage_denied' });
      await other.close();
    }
    const plain = await open(bucket, { endpoint: `https://127.0.0.1:${server.port}` });
    await expect(plain.get('data/ab/ab')).rejects.toMatchObject({ code: 'storage_denied' });
  });

  it('is reached by its own host name, and through a proxy', async () => {
    const bucket = await server.makeBucket();
    await using front = await openTlsFront(server);
    await using proxy = await openProxy(server, front);
    const bytes = Buffer.alloc(1_000_000, 'proxy');
    const places: [Partial<S3Options>, string][] = [
      [{ endpoint: `http://${server.domain}`, pathStyle: false }, `http://${bucket}.${server.domain}/`],
      [{ endpoint: `http://${server.domain}` }, `http://${server.domain}/${bucket}/`],
      [{ endpoint: 'https://127.0.0.1', caCertificate: front.caCertificate }, 'CONNECT 127.0.0.1:443'],
    ];
    for (const [more, asked] of places) {
      const storage = await open(bucket, { ...more, proxy: proxy.url });
      proxy.asked.length = 0;
      await storage.put('data/ab/ab', bytes);
      expect(bytes.equals(await storage.get('data/ab/ab'))).toBe(true);
      expect(await Array.fromAsync(storage.list(''))).toHaveLength(1);
      expect(proxy.asked.filter((url) => !url.startsWith(asked))).toEqual([]);
      await storage.delete('data/ab/ab');
      await storage.close();
    }
  });
});

/** Leads every host to the server, and what asks for a tunnel to its front with TLS. */
async function openProxy(target: { readonly port: number }, front: { readonly port: number }) {
  const asked: string[] = [];
  const proxy = createServer((request, response) => {
    asked.push(request.url ?? '');
    const { pathname, search } = new URL(request.url ?? '');
    const { method, headers } = request;
    const onward = sendRequest(
      { host: '127.0.0.1', port: target.port, path: `${pathname}${search}`, method: method ?? '', headers },
      (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      },
    );
    // After some answers without a body Swift sends the end of one, which is none of the next answer's beginning.
    onward.on('error', () => (response.headersSent ? undefined : response.destroy()));
    request.pipe(onward);
  });
  proxy.on('connect', (request, client: Socket) => {
    asked.push(`CONNECT ${request.url}`);
    const onward = connect(front.port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      client.pipe(onward).pipe(client);
    });
    client.on('error', () => onward.destroy());
    onward.on('error', () => client.destroy());
    client.on('close', () => onward.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const address = proxy.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    asked,
    async [Symbol.asyncDispose]() {
      const closed = once(proxy, 'close');
      proxy.close();
      proxy.closeAllConnections();
      await closed;
    },
  };
}
