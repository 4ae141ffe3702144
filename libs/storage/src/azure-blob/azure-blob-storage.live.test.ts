import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, request as httpRequest, type RequestListener } from 'node:http';
import { inspect } from 'node:util';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type AdapterSettings, defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { type AzureBlobServer, openAzureProxy, startAzureBlobServer } from '../testing/azure-blob-server.ts';
import { openFaultyLine } from '../testing/faulty-line.ts';
import { freePort } from '../testing/server-program.ts';
import { describeStorageContract } from '../testing/storage-contract.ts';
import type { AzureBlobCredentials, AzureBlobOptions } from './azure-blob-options.ts';
import { openAzureBlobStorage } from './azure-blob-storage.ts';

describeStorageContract('azure_blob, with an account key and with a SAS', async () => {
  const contractServer = await startAzureBlobServer({ persistence: 'memory' });
  const options = await contractServer.newContainer({ prefix: 'databases/a@b+c=d.e' });
  const sasToken = contractServer.sasToken(options.container, 'rcdl');
  const storage = await openAzureBlobStorage(options, { accountKey: contractServer.accountKey }, defaultAdapterSettings);
  const second = await openAzureBlobStorage(options, { sasToken }, defaultAdapterSettings);
  return {
    storage,
    second,
    async dispose() {
      await second.close();
      await contractServer[Symbol.asyncDispose]();
    },
  };
});

let server: AzureBlobServer;
beforeAll(async () => {
  server = await startAzureBlobServer({ persistence: 'memory' });
});
afterAll(() => server[Symbol.asyncDispose]());

async function open(
  options: AzureBlobOptions,
  credentials: AzureBlobCredentials = { accountKey: server.accountKey },
  settings: AdapterSettings = defaultAdapterSettings,
): Promise<Storage> {
  const storage = await openAzureBlobStorage(options, credentials, settings);
  onTestFinished(() => storage.close());
  return storage;
}

/** Every call, with what it ended with. */
async function failuresOf(storage: Storage): Promise<unknown[]> {
  const calls = [
    storage.put('config', Buffer.from('x')),
    storage.get('config'),
    storage.get('config', { range: { offsetBytes: 0, lengthBytes: 1 } }),
    storage.stat('config'),
    Array.fromAsync(storage.list('')),
    storage.delete('config'),
  ];
  return (await Promise.allSettled(calls)).map((outcome) => (outcome.status === 'rejected' ? outcome.reason : 'no failure'));
}

function expectNoSecret(error: unknown, secrets: readonly string[]): void {
  const said = inspect(error, { depth: Infinity, showHidden: true });
  for (const secret of secrets) {
    expect(said).not.toContain(secret);
    expect(said).not.toContain(encodeURIComponent(secret));
    expect(JSON.stringify(error)).not.toContain(secret);
  }
}

describe('who may not', () => {
  it('is denied with a key that is not the account’s, and no key is in what is said', async () => {
    const options = await server.newContainer();
    const accountKey = randomBytes(64).toString('base64');
    for (const failure of await failuresOf(await open(options, { accountKey }))) {
      expect(failure).toMatchObject({
        code: 'storage_denied',
        context: { status: 403, serverCode: expect.stringMatching(/^Auth/) as string },
      });
      expectNoSecret(failure, [accountKey, server.accountKey]);
    }
  });

  it('is denied with a SAS that was altered or has expired, and no signature is in what is said', async () => {
    const options = await server.newContainer();
    const expired = server.sasToken(options.container, 'rcdl', new Date(Date.now() - 1000));
    const altered = server.sasToken(options.container, 'rcl').replace('sp=rcl', 'sp=rcdl');
    for (const sasToken of [expired, `?${altered}`]) {
      const signature = new URLSearchParams(sasToken).get('sig') ?? '';
      expect(signature.length).toBeGreaterThan(40);
      for (const failure of await failuresOf(await open(options, { sasToken }))) {
        expect(failure).toMatchObject({ code: 'storage_denied', context: { status: 403 } });
        expectNoSecret(failure, [signature]);
      }
    }
  });

  it('hears of no signature either when nobody answers', async () => {
    const options = await server.newContainer();
    const sasToken = server.sasToken(options.container, 'rcdl');
    const endpoint = `http://127.0.0.1:${String(await freePort())}`;
    for (const failure of await failuresOf(await open({ ...options, endpoint }, { sasToken }))) {
      expect(failure).toMatchObject({ code: 'storage_unreachable', context: { errno: 'ECONNREFUSED' } });
      expectNoSecret(failure, [new URLSearchParams(sasToken).get('sig') ?? '']);
    }
  });

  it('is told which right a SAS lacks', async () => {
    const options = await server.newContainer();
    await (await open(options)).put('config', Buffer.from('x'));
    const missing = { code: 'storage_denied', message: expect.stringContaining('rcdl') as string };
    const without = async (rights: string): Promise<Storage> => open(options, { sasToken: server.sasToken(options.container, rights) });
    await expect((await without('rdl')).put('keys/a', Buffer.from('x'))).rejects.toMatchObject(missing);
    await expect((await without('cdl')).get('config')).rejects.toMatchObject(missing);
    await expect((await without('cdl')).stat('config')).rejects.toMatchObject(missing);
    await expect((await without('rcl')).delete('config')).rejects.toMatchObject(missing);
    await expect(Array.fromAsync((await without('rcd')).list(''))).rejects.toMatchObject(missing);
  });

  it('cannot replace with a SAS that may create, nor with one that may write', async () => {
    const options = await server.newContainer();
    await (await open(options)).put('config', Buffer.from('first'));
    for (const rights of ['rcdl', 'rcwdl', 'rdl']) {
      const storage = await open(options, { sasToken: server.sasToken(options.container, rights) });
      await expect(storage.put('config', Buffer.from('other'))).rejects.toSatisfy((error) =>
        isHoldfastError(error, 'storage_object_exists'),
      );
      expect(Buffer.from(await storage.get('config')).toString()).toBe('first');
    }
  });

  it('learns that there is no such container', async () => {
    const options = await server.newContainer();
    for (const failure of await failuresOf(await open({ ...options, container: 'missing' }))) {
      expect(failure).toMatchObject({ code: 'storage_denied', context: { serverCode: 'ContainerNotFound' } });
    }
  });

  it('learns that a blob is held by a lease or by snapshots', async () => {
    const options = await server.newContainer();
    const storage = await open(options);
    await storage.put('keys/a', Buffer.from('x'));
    await storage.put('keys/b', Buffer.from('x'));
    await server.client(options).getBlobClient('keys/a').createSnapshot();
    await server.client(options).getBlobClient('keys/b').getBlobLeaseClient().acquireLease(60);
    await expect(storage.delete('keys/a')).rejects.toMatchObject({ code: 'storage_denied', context: { serverCode: 'SnapshotsPresent' } });
    await expect(storage.delete('keys/b')).rejects.toMatchObject({ code: 'storage_denied', context: { serverCode: 'LeaseIdMissing' } });
    await expect(storage.put('keys/b', Buffer.from('y'))).rejects.toMatchObject({ code: 'storage_object_exists' });
  });
});

describe('a container', () => {
  it('holds places side by side, and what is no object is not listed', async () => {
    const options = await server.newContainer();
    const [top, below, beside] = [await open(options), await open({ ...options, prefix: 'a' }), await open({ ...options, prefix: 'a-b' })];
    for (const storage of [top, below, beside]) await storage.put('config', Buffer.from(storage.location));
    const container = server.client(options);
    for (const name of ['a/data', 'a/data/ab', 'a/keys', 'keys']) {
      await container.getBlockBlobClient(name).upload('', 0, { metadata: { hdi_isfolder: 'true' } });
    }
    for (const name of ['a/README.md', 'a/keys/A', 'a/data/ab/c/d', 'a/keys/ä b<&', 'a/.tmp-1', 'aconfig']) {
      await container.getBlockBlobClient(name).upload('x', 1);
    }
    for (const storage of [top, below, beside]) {
      const names = (await Array.fromAsync(storage.list(''))).map(({ name }) => name);
      expect(names).toEqual(storage === top ? ['a/config', 'aconfig', 'config'] : ['config']);
      expect(Buffer.from(await storage.get('config')).toString()).toBe(storage.location);
    }
    await below.delete('config');
    expect(await Array.fromAsync(below.list(''))).toEqual([]);
    expect((await beside.stat('config')).sizeBytes).toBe(beside.location.length);
  });

  it('is full when the server says so, and takes more when there is room', async () => {
    await using small = await startAzureBlobServer({ persistence: 'memory', memoryLimitMegabytes: 1 });
    const storage = await open(await small.newContainer(), { accountKey: small.accountKey });
    await storage.put('data/ab/first', Buffer.alloc(700_000));
    await expect(storage.put('data/ab/second', Buffer.alloc(700_000))).rejects.toMatchObject({ code: 'storage_full', retry: 'later' });
    expect((await Array.fromAsync(storage.list(''))).map(({ name }) => name)).toEqual(['data/ab/first']);
    await storage.put('data/ab/third', Buffer.alloc(100_000));
  });

  it('is reached by so many connections at most', async () => {
    await using line = await openFaultyLine(server);
    const options = await server.newContainer({}, line.port);
    const storage = await open(options, undefined, { ...defaultAdapterSettings, maxConnections: 3 });
    const names = Array.from({ length: 40 }, (_, index) => `keys/${String(index)}`);
    await Promise.all(names.map((name) => storage.put(name, randomBytes(50_000))));
    await Promise.all(names.map((name) => storage.get(name)));
    expect(line.counts.connections).toBeLessThanOrEqual(3);
  });

  it('is left by closing, which ends calls that hang and those that wait', async () => {
    await using line = await openFaultyLine(server);
    const storage = await open(await server.newContainer({}, line.port), undefined, { ...defaultAdapterSettings, maxConnections: 1 });
    await storage.put('config', Buffer.from('x'));
    line.strike('stall', 'up', 1);
    const calls = Promise.allSettled([storage.get('config'), storage.stat('config'), Array.fromAsync(storage.list(''))]);
    await vi.waitFor(() => expect(line.counts.stalls).toBe(1));
    await storage.close();
    await storage.close();
    for (const outcome of await calls) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'storage_unreachable' } });
    await expect(storage.get('config')).rejects.toMatchObject({ code: 'storage_unreachable' });
  });
});

describe('what goes over the wire', () => {
  it('asks for a blob that is not there yet, with its hash, its tier and its time of rest; locks have neither', async () => {
    await using proxy = await openForwardProxy();
    const accessTier = 'cool';
    const options = await server.newContainer({ accessTier, immutability: { days: 30, mode: 'locked' }, proxy: proxy.url });
    const storage = await open(options);
    await storage.put('data/ab/abcd', Buffer.from('bytes'));
    await storage.put('locks/abcd', Buffer.from('bytes'));
    const [data, lock] = proxy.puts;
    expect(data).toMatchObject({
      'if-none-match': '*',
      'content-md5': createHash('md5').update('bytes').digest('base64'),
      'x-ms-blob-type': 'BlockBlob',
      'x-ms-access-tier': 'Cool',
      'x-ms-immutability-policy-mode': expect.stringMatching(/^locked$/i) as string,
    });
    const until = Date.parse(String(data?.['x-ms-immutability-policy-until-date']));
    expect(Math.abs(until - Date.now() - 30 * 24 * 60 * 60 * 1000)).toBeLessThan(60_000);
    expect(lock).toMatchObject({ 'if-none-match': '*', 'content-md5': data?.['content-md5'] });
    expect(Object.keys(lock ?? {}).filter((name) => /tier|immutability/.test(name))).toEqual([]);
    expect((await server.client(options).getBlobClient('data/ab/abcd').getProperties()).accessTier).toBe('Cool');
  });

  it('is checked by the service: bytes that change on their way are not kept', async () => {
    await using proxy = await openForwardProxy((chunk) => chunk.map((byte) => byte ^ 1));
    const storage = await open(await server.newContainer({ proxy: proxy.url }));
    await expect(storage.put('config', Buffer.from('bytes'))).rejects.toMatchObject({
      code: 'storage_unreachable',
      context: { serverCode: 'Md5Mismatch' },
    });
    expect(await Array.fromAsync(storage.list(''))).toEqual([]);
  });

  it('is sent to no proxy that only the environment names', async () => {
    const dead = `http://127.0.0.1:${String(await freePort())}`;
    for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'http_proxy']) vi.stubEnv(name, dead);
    onTestFinished(() => void vi.unstubAllEnvs());
    const storage = await open(await server.newContainer());
    await storage.put('config', Buffer.from('x'));
    expect((await storage.get('config')).byteLength).toBe(1);
  });
});

describe('another server', () => {
  const place = { type: 'azure_blob', account: 'holdfasttests', container: 'holdfast' } as const;

  it('that sends elsewhere is not followed', async () => {
    let followed = 0;
    await using elsewhere = await openServer((_request, response) => {
      followed += 1;
      response.writeHead(200).end();
    });
    for (const status of [301, 302, 307, 308]) {
      await using first = await openServer((request, response) => {
        request.resume();
        response.writeHead(status, { location: `${elsewhere.url}/holdfast/config` }).end();
      });
      for (const failure of await failuresOf(await open({ ...place, endpoint: first.url }))) {
        expect(failure).toMatchObject({ code: 'storage_denied', context: { status } });
      }
    }
    await using itself = await openServer((request, response) => {
      request.resume();
      if (request.url?.includes('followed') === true) followed += 1;
      response.writeHead(307, { location: '/followed' }).end();
    });
    for (const failure of await failuresOf(await open({ ...place, endpoint: itself.url })))
      expect(failure).toMatchObject({ code: 'storage_denied' });
    expect(followed).toBe(0);
  });

  it.each([
    [404, 'storage_denied'],
    [409, 'storage_denied'],
    [412, 'storage_denied'],
    [502, 'storage_unreachable'],
    [503, 'storage_unreachable'],
    [200, 'storage_unreachable'],
    [204, 'storage_unreachable'],
  ])('that answers %i is not taken for the service', async (status, code) => {
    await using other = await openServer((request, response) => {
      request.resume();
      response.writeHead(status, { 'content-type': 'text/html' }).end(status === 204 ? undefined : '<html>hello</html>');
    });
    for (const failure of await failuresOf(await open({ ...place, endpoint: other.url }))) expect(failure).toMatchObject({ code });
  });

  it('that gives other bytes than were asked for is not believed', async () => {
    const headers = { etag: '"a"', 'last-modified': new Date(0).toUTCString() };
    const answers: Record<string, [number, Record<string, string>]> = {
      'whole instead of a range': [200, { ...headers, 'content-length': '10' }],
      'another range': [206, { ...headers, 'content-length': '4', 'content-range': 'bytes 0-3/10' }],
    };
    for (const [status, more] of Object.values(answers)) {
      await using other = await openServer((_request, response) => {
        response.writeHead(status, more).end('0123456789'.slice(0, Number(more['content-length'])));
      });
      const storage = await open({ ...place, endpoint: other.url });
      await expect(storage.get('config', { range: { offsetBytes: 3, lengthBytes: 4 } })).rejects.toMatchObject({
        code: 'storage_unreachable',
      });
    }
    await using endless = await openServer((_request, response) => {
      response.writeHead(200, { ...headers, 'content-length': String(2 ** 40) }).write('x');
    });
    await expect((await open({ ...place, endpoint: endless.url })).get('config')).rejects.toMatchObject({ code: 'storage_unreachable' });
  });
});

describe('TLS', () => {
  let secure: AzureBlobServer;
  beforeAll(async () => {
    secure = await startAzureBlobServer({ persistence: 'memory', isTls: true });
  });
  afterAll(() => secure[Symbol.asyncDispose]());

  it('takes an authority of one’s own', async () => {
    const storage = await open(await secure.newContainer(), { accountKey: secure.accountKey });
    const bytes = randomBytes(3_000_000);
    await storage.put('config', bytes);
    expect(bytes.equals(await storage.get('config'))).toBe(true);
  });

  it('refuses a certificate that does not verify, or is for another name, and a server that speaks none', async () => {
    const options = await secure.newContainer();
    const { caCertificate: _, ...untrusting } = options;
    const otherName = { ...options, endpoint: `https://localhost:${String(secure.port)}/${secure.account}` };
    const plain = { ...options, endpoint: `https://127.0.0.1:${String(server.port)}/${server.account}` };
    for (const place of [untrusting, otherName, plain]) {
      for (const failure of await failuresOf(await open(place, { accountKey: secure.accountKey }))) {
        expect(failure).toMatchObject({ code: 'storage_denied', message: expect.stringContaining('caCertificate') as string });
      }
    }
  });

  it('goes through a proxy to the address that an account has at Azure', async () => {
    await using proxy = await openAzureProxy(secure);
    const { endpoint: _, ...options } = await secure.newContainer({ proxy: proxy.url });
    const storage = await open(options, { accountKey: secure.accountKey });
    await storage.put('config', Buffer.from('by way of a proxy'));
    expect(Buffer.from(await storage.get('config')).toString()).toBe('by way of a proxy');
    expect(storage.location).toBe(`azure_blob:https://${secure.account}.blob.core.windows.net/${options.container}`);
    expect(proxy.requests).toContain(`${secure.account}.blob.core.windows.net:443`);
  });
});

interface TestServer extends AsyncDisposable {
  readonly url: string;
}

async function openServer(onRequest: RequestListener): Promise<TestServer> {
  const listener = createServer(onRequest).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return {
    url: `http://127.0.0.1:${String(address.port)}`,
    async [Symbol.asyncDispose]() {
      listener.close();
      listener.closeAllConnections();
      await once(listener, 'close');
    },
  };
}

/** A proxy for plain HTTP that remembers the headers of puts, and may change what they carry. */
async function openForwardProxy(
  alter = (chunk: Buffer): Uint8Array => chunk,
): Promise<TestServer & { readonly puts: IncomingHttpHeaders[] }> {
  const puts: IncomingHttpHeaders[] = [];
  const proxy = await openServer((request, response) => {
    if (request.method === 'PUT') puts.push(request.headers);
    const onward = httpRequest(request.url ?? '', { method: request.method ?? 'GET', headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.on('data', (chunk: Buffer) => onward.write(alter(chunk)));
    request.on('end', () => onward.end());
  });
  return { ...proxy, puts };
}
