import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { chmod, mkdir, mkdtemp, open as openFile, readdir, readFile, rename, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { CallOptions, Storage } from '../storage.ts';
import { isSweepable } from '../sweep.ts';
import { openFaultyLine } from '../testing/faulty-line.ts';
import { makeKey, startSftpServer, type SftpServer } from '../testing/sftp-server.ts';
import { describeStorageContract } from '../testing/storage-contract.ts';
import { openRetryingStorage } from '../wrappers/retrying-storage.ts';
import { fingerprintOf } from './sftp-host-key.ts';
import { openSftpStorage } from './sftp-storage.ts';

const run = promisify(execFile);
const isRoot = process.geteuid?.() === 0;
const bytes = Buffer.from('some bytes');

describeStorageContract('sftp', async () => {
  const server = await startSftpServer();
  const path = join(server.folder, 'made', 'by the first put');
  const second = await server.open({ path });
  const dispose = async (): Promise<void> => {
    await second.close();
    await server[Symbol.asyncDispose]();
  };
  return { storage: await server.open({ path }), second, dispose };
});

// All that may be otherwise at another server: no extensions, new keys every few megabytes, a password, a path below the home folder.
describeStorageContract('sftp without links and syncs', async () => {
  const server = await startSftpServer({
    sftpArgs: '-P hardlink,fsync,posix-rename,limits,statvfs',
    config: ['RekeyLimit 16M'],
    ownAccount: isRoot,
  });
  const options = server.options(isRoot ? { path: 'below/home' } : {});
  const credentials = server.password === undefined ? server.credentials : { password: server.password };
  const open = (): Promise<Storage> => openSftpStorage(options, credentials, defaultAdapterSettings);
  const second = await open();
  const dispose = async (): Promise<void> => {
    await second.close();
    await server[Symbol.asyncDispose]();
  };
  return { storage: await open(), second, dispose };
});

describe('an sftp storage', () => {
  let server: SftpServer;
  beforeAll(async () => {
    server = await startSftpServer();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  const open = async (...given: Parameters<SftpServer['open']>): Promise<Awaited<ReturnType<SftpServer['open']>>> => {
    const storage = await server.open(...given);
    onTestFinished(() => storage.close());
    return storage;
  };
  const freshFolder = (): Promise<string> => mkdtemp(join(server.folder, 'repository-'));

  describe('who the server is', () => {
    it('knows it by its fingerprint, and by one line among others', async () => {
      const path = await freshFolder();
      const fingerprint = fingerprintOf(Buffer.from(server.hostKey.split(' ')[1] ?? '', 'base64'));
      const first = await open({ path, hostKey: fingerprint });
      await first.put('config', bytes);
      const other = `ssh-ed25519 ${Buffer.from('\0\0\0\u000bssh-ed25519\0\0\0\u0020another key of thirty-two bytes.').toString('base64')}`;
      const second = await open({ path, hostKey: [other, server.hostKey] });
      expect(Buffer.from(await second.get('config'))).toEqual(bytes);
    });

    it('asks for a key of the type that it was given', async () => {
      const storage = await open({ hostKey: server.ecdsaHostKey });
      await expect(storage.stat('config')).rejects.toSatisfy(hasCode('storage_object_missing'));
    });

    it('does not talk to one with another key, and names the key that it saw', async () => {
      const stranger = await startSftpServer();
      onTestFinished(() => stranger[Symbol.asyncDispose]());
      const storage = await open({ hostKey: stranger.hostKey });
      const seen = fingerprintOf(Buffer.from(server.hostKey.split(' ')[1] ?? '', 'base64'));
      await expect(storage.stat('config')).rejects.toMatchObject({ code: 'storage_denied', message: expect.stringContaining(seen) });
    });

    it('says it when the server has no key of that type', async () => {
      const path = join(server.folder, 'rsa');
      await makeKey(path, 'rsa');
      const storage = await open({ hostKey: (await readFile(`${path}.pub`, 'utf8')).trim() });
      await expect(storage.stat('config')).rejects.toMatchObject({ code: 'storage_denied', message: expect.stringContaining('host key') });
    });
  });

  describe('who we are', () => {
    const expectDenied = async (
      given: Parameters<typeof openSftpStorage>[1],
      more: Parameters<SftpServer['options']>[0] = {},
    ): Promise<void> => {
      const storage = await openSftpStorage(server.options(more), given, defaultAdapterSettings);
      onTestFinished(() => storage.close());
      const failure: unknown = await storage.stat('config').catch((error: unknown) => error);
      expect(failure).toSatisfy(hasCode('storage_denied'));
      const secret = 'password' in given ? given.password : given.privateKey.slice(100, 140);
      expect(`${JSON.stringify(failure)} ${String(failure)}`).not.toContain(secret);
    };

    it('is refused with another key, as another user, and with a password where none is taken', async () => {
      const path = join(server.folder, 'another-key');
      await makeKey(path, 'ed25519');
      await expectDenied({ privateKey: await readFile(path, 'utf8') });
      await expectDenied(server.credentials, { user: 'nobody-of-that-name' });
      await expectDenied({ password: 'some password' });
    });

    it('takes keys of all types, and one with a passphrase', async () => {
      for (const [type, passphrase] of [
        ['ed25519', 'a passphrase'],
        ['ecdsa', ''],
        ['rsa', ''],
      ] as const) {
        const path = join(server.folder, `key-${type}`);
        await makeKey(path, type, passphrase);
        const authorized = `${server.privateKeyFile}.pub`;
        await writeFile(authorized, await readFile(`${path}.pub`), { flag: 'a' });
        const privateKey = await readFile(path, 'utf8');
        const credentials = passphrase === '' ? { privateKey } : { privateKey, passphrase };
        const storage = await openSftpStorage(server.options(), credentials, defaultAdapterSettings);
        onTestFinished(() => storage.close());
        await expect(storage.stat('config')).rejects.toSatisfy(hasCode('storage_object_missing'));
      }
    });

    it('says it at once when a key cannot be used, and how, without the key', async () => {
      const path = join(server.folder, 'locked-key');
      await makeKey(path, 'ed25519', 'the right one');
      const privateKey = await readFile(path, 'utf8');
      const opening = (given: Parameters<typeof openSftpStorage>[1]) => openSftpStorage(server.options(), given, defaultAdapterSettings);
      await expect(opening({ privateKey })).rejects.toMatchObject({ code: 'storage_denied', hint: expect.stringContaining('passphrase') });
      await expect(opening({ privateKey, passphrase: 'a wrong one' })).rejects.toMatchObject({
        code: 'storage_denied',
        hint: expect.stringContaining('passphrase'),
      });
      for (const odd of [privateKey.slice(0, 200), 'no key', server.hostKey]) {
        const failure: unknown = await opening({ privateKey: odd }).catch((error: unknown) => error);
        expect(failure).toMatchObject({ code: 'storage_denied', hint: expect.stringContaining('ssh-keygen') });
        expect(JSON.stringify(failure)).not.toContain(odd.slice(40, 80) || odd);
      }
    });

    it.skipIf(!isRoot)('is refused with a wrong password, and let in with the right one', async () => {
      const own = await startSftpServer({ ownAccount: true });
      onTestFinished(() => own[Symbol.asyncDispose]());
      const opening = (password: string) => openSftpStorage(own.options(), { password }, defaultAdapterSettings);
      const wrong = await opening('wrong');
      await expect(wrong.stat('config')).rejects.toSatisfy(hasCode('storage_denied'));
      await wrong.close();
      const right = await opening(own.password ?? '');
      await right.put('config', bytes);
      await right.close();
    });
  });

  describe('rights', () => {
    it.skipIf(!isRoot)('says what the account may not do', async () => {
      const own = await startSftpServer({ ownAccount: true });
      onTestFinished(() => own[Symbol.asyncDispose]());
      const storage = await own.open();
      onTestFinished(() => storage.close());
      await storage.put('keys/a', bytes);
      await chmod(join(own.folder, 'keys'), 0o500);
      await chmod(join(own.folder, 'keys', 'a'), 0o000);
      await expect(storage.get('keys/a')).rejects.toMatchObject({ code: 'storage_denied', context: { object: 'keys/a', status: 3 } });
      await expect(storage.put('keys/b', bytes)).rejects.toSatisfy(hasCode('storage_denied'));
      await expect(storage.delete('keys/a')).rejects.toSatisfy(hasCode('storage_denied'));
      await chmod(join(own.folder, 'keys'), 0o000);
      await expect(Array.fromAsync(storage.list('keys/'))).rejects.toSatisfy(hasCode('storage_denied'));
      const outside = await own.open({ path: '/proc/repository' });
      onTestFinished(() => outside.close());
      await expect(outside.put('config', bytes)).rejects.toSatisfy(isHoldfastError);
    });

    it('says it when the server only lets us read', async () => {
      const readOnly = await startSftpServer({ sftpArgs: '-R' });
      onTestFinished(() => readOnly[Symbol.asyncDispose]());
      await writeFile(join(readOnly.folder, 'config'), bytes);
      const storage = await readOnly.open();
      onTestFinished(() => storage.close());
      expect(Buffer.from(await storage.get('config'))).toEqual(bytes);
      await expect(storage.put('keys/a', bytes)).rejects.toSatisfy(hasCode('storage_denied'));
      await expect(storage.delete('config')).rejects.toSatisfy(hasCode('storage_denied'));
    });

    it('says it when the account has no SFTP', async () => {
      const shell = await startSftpServer({ config: ['ForceCommand echo welcome'] });
      onTestFinished(() => shell[Symbol.asyncDispose]());
      const storage = await shell.open();
      onTestFinished(() => storage.close());
      await expect(storage.stat('config')).rejects.toSatisfy(hasCode('storage_denied'));
    });
  });

  describe('connections', () => {
    it('are as many as allowed and no more, and are shared', async () => {
      const line = await openFaultyLine(server);
      onTestFinished(() => line[Symbol.asyncDispose]());
      const storage = await open({ port: line.port, path: await freshFolder() }, { maxConnections: 3 });
      const names = Array.from({ length: 60 }, (_, index) => `keys/${String(index)}`);
      await Promise.all(names.map((name) => storage.put(name, Buffer.alloc(100_000))));
      expect(line.counts.connections).toBe(3);
      // Whoever works while it lists must not wait for itself.
      const alone = await open({ port: line.port, path: await freshFolder() }, { maxConnections: 1 });
      await alone.put('keys/a', bytes);
      for await (const { name } of alone.list('')) await alone.delete(name);
      expect(line.counts.connections).toBe(4);
    });

    it('make do with those that the server gives', async () => {
      const busy = await startSftpServer({ config: ['MaxStartups 2:100:2'] });
      onTestFinished(() => busy[Symbol.asyncDispose]());
      const storage = await busy.open();
      onTestFinished(() => storage.close());
      const names = Array.from({ length: 40 }, (_, index) => `keys/${String(index)}`);
      // The very first may meet the connections by which the test saw that the server is up.
      await openRetryingStorage(storage).put('config', bytes);
      await Promise.all(names.map((name) => storage.put(name, bytes)));
      expect(await Array.fromAsync(storage.list('keys/'))).toHaveLength(40);
    });

    it('that nobody takes are out of reach, at once', async () => {
      const gone = await startSftpServer();
      await gone[Symbol.asyncDispose]();
      const storage = await gone.open();
      await expect(storage.put('config', bytes)).rejects.toMatchObject({ code: 'storage_unreachable', context: { object: 'config' } });
      await storage.close();
    });

    it('end with the storage, and whoever waits hears of it', async () => {
      const storage = await server.open({ path: await freshFolder() }, { maxConnections: 1 });
      const calls = Promise.allSettled([storage.put('keys/a', Buffer.alloc(10_000_000)), storage.put('keys/b', bytes)]);
      await storage.stat('config').catch(() => undefined);
      await storage.close();
      for (const outcome of await calls)
        if (outcome.status === 'rejected') expect(outcome.reason).toSatisfy(hasCode('storage_unreachable'));
      await expect(storage.stat('config')).rejects.toSatisfy(hasCode('internal'));
    });
  });

  describe('what lies there', () => {
    it('may have folders elsewhere, but no objects, and other files are passed over', async () => {
      const path = await freshFolder();
      const storage = await open({ path });
      await storage.put('data/ab/one', bytes);
      await rename(join(path, 'data'), `${path}-elsewhere`);
      await symlink(`${path}-elsewhere`, join(path, 'data'));
      await storage.put('data/cd/two', bytes);
      await symlink(join(path, 'data', 'ab', 'one'), join(path, 'data', 'ab', 'link'));
      await symlink('nowhere', join(path, 'keys'));
      await run('mkfifo', [join(path, 'config')]);
      for (const name of ['.tmp-a', 'README', 'one-tmp-123', 'ä']) await writeFile(join(path, 'data', 'ab', name), 'foreign');
      await mkdir(join(path, 'data', 'ab', 'folder'));
      await mkdir(join(path, 'lost+found'));

      const listed = await Array.fromAsync(storage.list(''));
      expect(listed.map(({ name }) => name).toSorted()).toEqual(['data/ab/one', 'data/cd/two']);
      expect(listed[0]).toEqual(await storage.stat(listed[0]?.name ?? ''));
      for (const name of ['data/ab/link', 'data/ab/folder', 'config']) {
        await expect(storage.get(name)).rejects.toSatisfy(hasCode('storage_denied'));
        await expect(storage.stat(name)).rejects.toSatisfy(hasCode('storage_denied'));
        await expect(storage.put(name, bytes)).rejects.toSatisfy(hasCode('storage_object_exists'));
      }
      // Lets go of the server's process, which waits for somebody to write into the fifo.
      await (await openFile(join(path, 'config'), constants.O_RDWR | constants.O_NONBLOCK)).close();
      expect((await stat(join(path, 'data', 'ab', 'one'))).mode & 0o777).toBe(0o600);
      expect((await stat(join(path, 'data', 'cd'))).mode & 0o777).toBe(0o700);
    });

    it('is swept of temporary files that are old enough, and of nothing else', async () => {
      const path = await freshFolder();
      const storage: Storage = await open({ path });
      await storage.put('data/ab/one', bytes);
      const [old, young] = ['.tmp-old', 'data/ab/.tmp-young'].map((name) => join(path, name)) as [string, string];
      for (const file of [old, young, join(path, 'data', '.tmpfile')]) await writeFile(file, 'half');
      const anHourAgo = new Date(Date.now() - 3_600_000);
      await utimes(old, anHourAgo, anHourAgo);
      await utimes(join(path, 'data', 'ab', 'one'), anHourAgo, anHourAgo);
      if (!isSweepable(storage)) throw new Error('it cannot sweep');
      expect(await storage.sweep(new Date(Date.now() - 60_000))).toBe(1);
      expect(await storage.sweep(new Date(Date.now() + 60_000))).toBe(1);
      expect((await readdir(path, { recursive: true })).toSorted()).toEqual(['data', 'data/.tmpfile', 'data/ab', 'data/ab/one']);
      const signal: CallOptions['signal'] = AbortSignal.abort(new Error('stop'));
      await expect(storage.sweep(new Date(), { signal })).rejects.toThrow('stop');
    });

    it.skipIf(!isRoot)('says that a full disk is full, leaves nothing, and goes on when there is room', async () => {
      const path = await freshFolder();
      await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path]);
      const storage = await server.open({ path });
      onTestFinished(async () => {
        await storage.close();
        await run('umount', ['--lazy', path]);
      });
      await storage.put('data/ab/first', Buffer.alloc(700_000));
      await expect(storage.put('data/ab/second', Buffer.alloc(700_000))).rejects.toSatisfy(hasCode('storage_full'));
      expect(await readdir(join(path, 'data', 'ab'))).toEqual(['first']);
      await storage.delete('data/ab/first');
      await storage.put('data/ab/second', Buffer.alloc(700_000));
      expect((await storage.stat('data/ab/second')).sizeBytes).toBe(700_000);
    });
  });
});

function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => isHoldfastError(error, code);
}
