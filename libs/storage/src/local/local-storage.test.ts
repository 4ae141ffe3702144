import { chmod, mkdir, mkdtemp, readdir, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it, onTestFinished } from 'vitest';
import { localError } from './local-error.ts';
import { sweepStaleTemporaries } from './local-listing.ts';
import { openLocalStorage } from './local-storage.ts';
import { describeStorageContract } from '../testing/storage-contract.ts';

describeStorageContract('local', async () => {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-local-'));
  // Below a folder that is not there yet: the first put makes it.
  const place = { path: join(path, 'a', 'b') };
  return {
    storage: await openLocalStorage(place),
    second: await openLocalStorage(place),
    dispose: () => rm(path, { recursive: true }),
  };
});

describe('local storage', () => {
  it('makes folders and objects for its own user alone', async () => {
    const path = join(await scratch(), 'new');
    const storage = await openLocalStorage({ path });
    await storage.put('data/ab/abcd', Buffer.from('x'));
    const modes = [];
    for (const name of ['', 'data', 'data/ab', 'data/ab/abcd']) modes.push((await stat(join(path, name))).mode & 0o777);
    expect(modes).toEqual([0o700, 0o700, 0o700, 0o600]);
    expect(await readdir(join(path, 'data', 'ab'))).toEqual(['abcd']);
  });

  it('takes a path from the working folder too', async () => {
    const path = join(await scratch(), 'new', 'folder');
    const storage = await openLocalStorage({ path: relative(process.cwd(), path) });
    await storage.put('keys/ab', Buffer.from('x'));
    expect(await readdir(join(path, 'keys'))).toEqual(['ab']);
  });

  it('passes over what is no object: temporaries, odd names, folders', async () => {
    const path = await scratch();
    const storage = await openLocalStorage({ path });
    await storage.put('keys/ab', Buffer.from('x'));
    await writeFile(join(path, 'keys', '.tmp-1'), 'x');
    await writeFile(join(path, 'keys', 'ab-tmp-123'), 'x');
    await writeFile(join(path, 'README.md'), 'x');
    await mkdir(join(path, 'keys', 'folder'));
    await symlink('/etc/passwd', join(path, 'keys', 'link'));
    expect((await Array.fromAsync(storage.list(''))).map(({ name }) => name)).toEqual(['keys/ab']);
    await expect(storage.get('keys/link')).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_denied'));
    await expect(storage.get('keys/folder')).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_denied'));
  });

  it('follows a folder that is a symlink', async () => {
    const [path, other] = [await scratch(), await scratch()];
    await symlink(other, join(path, 'data'));
    const storage = await openLocalStorage({ path });
    await storage.put('data/ab/abcd', Buffer.from('x'));
    expect((await Array.fromAsync(storage.list('data/'))).map(({ name }) => name)).toEqual(['data/ab/abcd']);
    expect(await readdir(join(other, 'ab'))).toEqual(['abcd']);
  });

  it('sweeps temporaries that are older than an hour, and nothing else', async () => {
    const path = await scratch();
    await mkdir(join(path, 'data', 'ab'), { recursive: true });
    const now = new Date('2030-01-01T12:00:00Z');
    const put = async (name: string, minutes: number): Promise<void> => {
      await writeFile(join(path, name), 'x');
      const at = now.getTime() / 1000 - minutes * 60;
      await utimes(join(path, name), at, at);
    };
    await put('data/ab/.tmp-old', 61);
    await put('.tmp-old', 61);
    await put('data/ab/.tmp-young', 59);
    await put('data/ab/object', 61);
    expect(await sweepStaleTemporaries(path, { now })).toBe(2);
    expect((await readdir(join(path, 'data', 'ab'))).toSorted()).toEqual(['.tmp-young', 'object']);
    expect(await sweepStaleTemporaries(join(path, 'nothing'), { now })).toBe(0);
  });

  it('refuses a file in the place of the folder, and of a folder within', async () => {
    const path = await scratch();
    await writeFile(join(path, 'file'), '');
    await expect(openLocalStorage({ path: join(path, 'file') })).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_denied'));
    await writeFile(join(path, 'keys'), '');
    const storage = await openLocalStorage({ path });
    await expect(storage.put('keys/ab', Buffer.from('x'))).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_denied'));
  });

  it.skipIf(process.geteuid?.() === 0)('names a folder without rights as denied', async () => {
    const path = await scratch();
    await chmod(path, 0o500);
    const storage = await openLocalStorage({ path });
    await expect(storage.put('config', Buffer.from('x'))).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_denied'));
    await chmod(path, 0o700);
  });
});

describe('errors of a local storage', () => {
  it.each([
    ['ENOSPC', 'storage_full', 'later'],
    ['EDQUOT', 'storage_full', 'later'],
    ['EACCES', 'storage_denied', 'never'],
    ['EPERM', 'storage_denied', 'never'],
    ['EROFS', 'storage_denied', 'never'],
    ['ENOENT', 'storage_object_missing', 'never'],
    ['EIO', 'storage_unreachable', 'later'],
    ['ESTALE', 'storage_unreachable', 'later'],
    ['EMFILE', 'storage_unreachable', 'later'],
  ])('%s is %s', (errno, code, retry) => {
    const cause = Object.assign(new Error('no'), { code: errno });
    expect(localError(cause, 'config', 'local:/a')).toMatchObject({ code, retry, cause });
  });

  it('leaves what no operating system said', () => {
    const error = new TypeError('ours');
    expect(localError(error, 'config', 'local:/a')).toBe(error);
    expect(errnoCode('no error')).toBeUndefined();
  });
});

async function scratch(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-local-'));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}
