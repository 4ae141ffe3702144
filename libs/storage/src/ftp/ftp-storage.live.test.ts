import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rmdir, utimes, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type AdapterSettings, defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import type { SweepableStorage } from '../sweep.ts';
import { type FtpProgram, type FtpTestServer, type FtpTestServerOptions, startFtpServer } from '../testing/ftp-server.ts';
import { describeStorageContract } from '../testing/storage-contract.ts';
import type { FtpOptions } from './ftp-options.ts';
import { temporaryPrefix } from './ftp-listing.ts';
import { openFtpStorage } from './ftp-storage.ts';

const run = promisify(execFile);
const programs: readonly FtpProgram[] = ['pure-ftpd', 'vsftpd'];

for (const program of programs) {
  for (const tls of ['explicit', 'none'] as const) {
    describeStorageContract(`ftp at ${program}, TLS ${tls}`, async () => {
      const server = await startFtpServer({ program });
      const open = () => openFtpStorage(server.options({ tls }), server.credentials, defaultAdapterSettings);
      const second = await open();
      return {
        storage: await open(),
        second,
        exclusivePut: 'checked',
        async dispose() {
          await second.close();
          await server[Symbol.asyncDispose]();
        },
      };
    });
  }
}

describe.each(programs)('ftp at %s', (program) => {
  let server: FtpTestServer;
  beforeAll(async () => {
    server = await startFtpServer({ program });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  it('is denied with a wrong password, and keeps the password out of the error', async () => {
    const password = 'not-the-password';
    const storage = await opened(server, {}, { credentials: { password } });
    const error = await storage.get('config').catch((caught: unknown) => caught);
    expect(error).toSatisfy(hasCode('storage_denied'));
    expect(error).toMatchObject({ context: { reply: 530 } });
    expect(JSON.stringify([error, String(error), error instanceof Error ? error.cause : ''])).not.toContain(password);
  });

  it('is denied when the certificate does not verify, and sends no password then', async () => {
    const storage = await opened(server, { caCertificate: undefined });
    await expect(storage.get('config')).rejects.toMatchObject({
      code: 'storage_denied',
      context: { errno: expect.stringContaining('SELF_SIGNED') },
    });
    const other = await opened(server, { host: 'localhost' });
    await expect(other.get('config')).rejects.toMatchObject({ code: 'storage_denied', context: { errno: 'ERR_TLS_CERT_ALTNAME_INVALID' } });
  });

  it('puts a repository at an absolute path with blanks, signs and letters of all kinds', async () => {
    for (const path of ['/absolute/a b', 'quote \' and " and [x]*{y}?', 'ünïcödé/日本', '/-a', 'ends/']) {
      const storage = await opened(server, { path });
      expect(await names(storage, '')).toEqual([]);
      await storage.put('config', Buffer.from('x'));
      expect(await names(storage, '')).toEqual(['config']);
      expect(Buffer.from(await storage.get('config')).toString()).toBe('x');
      await storage.delete('config');
      await expect(storage.stat('config')).rejects.toSatisfy(hasCode('storage_object_missing'));
    }
    expect((await readdir(server.home)).toSorted()).toEqual(expect.arrayContaining(['-a', 'absolute', 'ends', 'ünïcödé']));
  });

  it('checks an upload by reading it back, empty parts among it', async () => {
    const storage = await opened(server, { verifyUploads: 'read_back', path: 'read-back' });
    const bytes = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => index % 251));
    await storage.put('data/ab/abc', [bytes.subarray(0, 1), new Uint8Array(0), bytes.subarray(1, 1_000_000), bytes.subarray(1_000_000)]);
    expect(bytes.equals(await storage.get('data/ab/abc'))).toBe(true);
  });

  it('reads ranges short and long on one session, one after the other', async () => {
    const storage = await opened(server, { path: 'ranges' }, { settings: { maxConnections: 1 } });
    const bytes = Buffer.from(Array.from({ length: 4_000_000 }, (_, index) => (index * 7) % 253));
    await storage.put('data/ab/abc', bytes);
    for (const [offsetBytes, lengthBytes] of [
      [0, 1],
      [1, 100],
      [3_999_999, 1],
      [10, 3_000_000],
      [0, 4_000_000],
      [2_000_000, 0],
      [5, 5],
    ] as const) {
      const part = await storage.get('data/ab/abc', { range: { offsetBytes, lengthBytes } });
      expect(bytes.subarray(offsetBytes, offsetBytes + lengthBytes).equals(part)).toBe(true);
      expect((await storage.stat('data/ab/abc')).sizeBytes).toBe(4_000_000);
    }
  });

  it('leaves out and leaves alone what is no object, and sweeps old temporaries of its own', async () => {
    const storage = await opened(server, { path: 'mixed' });
    await storage.put('data/ab/abc', Buffer.from('x'));
    const folder = join(server.home, 'mixed/data/ab');
    const files = { old: `${temporaryPrefix}old`, young: `${temporaryPrefix}young`, foreign: 'Foreign file' };
    for (const name of Object.values(files)) await writeFile(join(folder, name), 'half');
    const longAgo = new Date(Date.now() - 40 * 60 * 60 * 1000);
    for (const name of [files.old, files.foreign]) await utimes(join(folder, name), longAgo, longAgo);
    expect(await names(storage, '')).toEqual(['data/ab/abc']);
    expect(await storage.sweep(new Date(Date.now() - 60 * 60 * 1000))).toBe(1);
    expect((await readdir(folder)).toSorted()).toEqual([files.young, files.foreign, 'abc'].toSorted());
  });

  it('tells an object that may not be read from one that is not there', async () => {
    const storage = await opened(server, { path: 'rights' });
    await storage.put('keys/a', Buffer.from('x'));
    await storage.put('locks/a', Buffer.from('x'));
    const [keys, locks] = [join(server.home, 'rights/keys'), join(server.home, 'rights/locks')];
    await run('chmod', ['000', join(keys, 'a'), locks]);
    await expect(storage.get('keys/a')).rejects.toSatisfy(hasCode('storage_denied'));
    await expect(storage.get('keys/b')).rejects.toSatisfy(hasCode('storage_object_missing'));
    await expect(storage.get('locks/a')).rejects.toSatisfy(hasCode('storage_denied'));
    await expect(names(storage, '')).rejects.toSatisfy(hasCode('storage_denied'));
    await expect(storage.put('locks/b', Buffer.from('x'))).rejects.toSatisfy(hasCode('storage_denied'));
    await run('chmod', ['500', keys]);
    await expect(storage.delete('keys/a')).rejects.toSatisfy(hasCode('storage_denied'));
    await storage.delete('keys/b');
  });

  it('says that a full disk is full, leaves nothing, and goes on when there is room', async () => {
    const path = await mkdtemp(join(tmpdir(), 'holdfast-full-'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path]);
    const small = await startFtpServer({ program, home: path });
    onTestFinished(async () => {
      await small[Symbol.asyncDispose]();
      await run('umount', [path]);
      await rmdir(path);
    });
    const storage = await opened(small, { path: '/' });
    await storage.put('data/ab/first', Buffer.alloc(700_000));
    await expect(storage.put('data/ab/second', Buffer.alloc(700_000))).rejects.toSatisfy(hasCode('storage_full'));
    expect(await readdir(join(path, 'data', 'ab'))).toEqual(['first']);
    await storage.delete('data/ab/first');
    await storage.put('data/ab/second', Buffer.alloc(700_000));
    expect((await storage.stat('data/ab/second')).sizeBytes).toBe(700_000);
    await storage.close();
  });

  it('gets by with fewer sessions where the server allows no more', async () => {
    const narrow = await started({ program, maxSessions: 2 });
    const storage = await opened(narrow, {});
    const objects = Array.from({ length: 40 }, (_, index) => `data/ab/${String(index)}`);
    await Promise.all(objects.map((name) => storage.put(name, Buffer.from(name))));
    expect(await names(storage, '')).toEqual(objects.toSorted());
  });

  it('connects data where the control connection goes, whatever address the server names', async () => {
    const proxy = await openAddressProxy(server.port);
    onTestFinished(() => proxy.close());
    const storage = await opened(server, { port: proxy.port, tls: 'none' });
    await storage.put('keys/pasv', Buffer.from('x'));
    expect(Buffer.from(await storage.get('keys/pasv')).toString()).toBe('x');
    expect(proxy.seen()).toBeGreaterThan(0);
  });
});

it('takes TLS from the first byte', async () => {
  const server = await started({ program: 'vsftpd', implicitTls: true });
  const storage = await opened(server, { tls: 'implicit' });
  await storage.put('keys/a', Buffer.from('x'));
  expect(await names(storage, '')).toEqual(['keys/a']);
  const plain = await opened(server, { tls: 'none' }, { settings: { idleTimeoutMs: 500 } });
  await expect(plain.stat('config')).rejects.toSatisfy(hasCode('storage_unreachable'));
});

it('is denied when TLS is begun at a port that speaks none', async () => {
  const server = await started({ program: 'pure-ftpd' });
  const storage = await opened(server, { tls: 'implicit' });
  await expect(storage.stat('config')).rejects.toSatisfy(hasCode('storage_denied'));
});

it('is denied where nothing may be written', async () => {
  const server = await started({ program: 'vsftpd', isReadOnly: true });
  const storage = await opened(server, {});
  await expect(storage.put('keys/a', Buffer.from('x'))).rejects.toSatisfy(hasCode('storage_denied'));
  await expect(storage.stat('keys/a')).rejects.toSatisfy(hasCode('storage_object_missing'));
});

it('says that a quota is used up', async () => {
  const server = await started({ program: 'pure-ftpd', quotaMebibytes: 1 });
  const storage = await opened(server, {});
  await storage.put('data/ab/first', Buffer.alloc(700_000));
  await expect(storage.put('data/ab/second', Buffer.alloc(700_000))).rejects.toSatisfy(hasCode('storage_full'));
  expect(await readdir(join(server.home, 'repository/data/ab'))).toEqual(expect.arrayContaining(['first']));
  expect(await names(storage, '')).toEqual(['data/ab/first']);
});

it('refuses calls after it was closed, and closes with calls under way', async () => {
  const server = await started({ program: 'pure-ftpd' });
  const storage = await opened(server, {});
  const put = storage.put('data/ab/abc', Buffer.alloc(64 * 1024 * 1024));
  const outcome = Promise.allSettled([put, storage.get('config')]);
  await storage.close();
  await storage.close();
  expect((await outcome)[1].status).toBe('rejected');
  await expect(storage.stat('config')).rejects.toSatisfy(hasCode('storage_unreachable'));
});

interface More {
  readonly credentials?: { readonly password: string };
  readonly settings?: Partial<AdapterSettings>;
}

async function opened(server: FtpTestServer, options: Partial<FtpOptions>, more: More = {}): Promise<Storage & SweepableStorage> {
  const settings = { ...defaultAdapterSettings, ...more.settings };
  const storage = await openFtpStorage(server.options(options), more.credentials ?? server.credentials, settings);
  onTestFinished(() => storage.close());
  return storage;
}

async function started(options: FtpTestServerOptions): Promise<FtpTestServer> {
  const server = await startFtpServer(options);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

async function names(storage: Storage, prefix: string): Promise<string[]> {
  return (await Array.fromAsync(storage.list(prefix))).map(({ name }) => name).toSorted();
}

function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => isHoldfastError(error, code);
}

/** Passes a control connection on, knows no EPSV, and names an address of its own in replies to PASV. */
async function openAddressProxy(target: number): Promise<{ readonly port: number; seen(): number; close(): void }> {
  let seen = 0;
  const proxy = createServer((client) => {
    const server = connect(target, '127.0.0.1');
    client.on('error', () => undefined).on('close', () => server.destroy());
    server.on('error', () => undefined).on('close', () => client.destroy());
    client.on('data', (chunk: Buffer) => {
      if (chunk.toString().startsWith('EPSV')) client.write('500 unknown command\r\n');
      else server.write(chunk);
    });
    server.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      if (text.startsWith('227')) seen += 1;
      client.write(Buffer.from(text.replace(/127,0,0,1/gu, '192,0,2,1'), 'latin1'));
    });
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const address = proxy.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { port: address.port, seen: () => seen, close: () => void proxy.close() };
}
