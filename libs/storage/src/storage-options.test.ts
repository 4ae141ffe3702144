import { inspect } from 'node:util';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { openStorage, type OpenStorageDeps } from './open-storage.ts';
import {
  areAmbient,
  checkStorageCredentials,
  credentialsPlace,
  locationKey,
  parseStorageOptions,
  storageAddresses,
} from './storage-options.ts';

describe('storage options', () => {
  it('takes an absolute folder', () => {
    expect(parseStorageOptions({ type: 'local', path: '/backups/a' })).toEqual({ type: 'local', path: '/backups/a' });
  });

  it.each([
    [{ type: 'local' }],
    [{ type: 'local', path: 'a' }],
    [{ type: 'local', path: '/a\0b' }],
    [{ type: 'local', path: `/${'a'.repeat(4095)}` }],
    [{ type: 'local', path: '/a', more: 1 }],
    [{ path: '/a' }],
    [null],
    ['local'],
  ])('refuses %j', (value) => {
    expect(() => parseStorageOptions(value)).toThrow(expect.objectContaining({ code: 'request_invalid' }));
  });

  it('says which kinds are there when another one is asked for', () => {
    expect(() => parseStorageOptions({ type: 'tape', slot: 4 })).toThrow(
      expect.objectContaining({ code: 'type_not_supported', message: expect.stringContaining('local, s3') }),
    );
  });

  it('gives one key for one place', () => {
    const keys = ['/a/b', '/a/b/', '/a//b', '/a/c/../b', '/a/./b'].map((path) => locationKey({ type: 'local', path }));
    expect(new Set(keys)).toEqual(new Set(['local:/a/b']));
    expect(locationKey({ type: 'local', path: '/' })).toBe('local:/');
  });
});

describe('credentials', () => {
  const sftp = { type: 'sftp', host: 'a.internal', user: 'backup', path: '/a', hostKey: `SHA256:${'A'.repeat(43)}` } as const;

  it('are for a place: server, account, folder and whom it trusts, not how fast it is used', () => {
    const place = credentialsPlace(parseStorageOptions(sftp));
    const same = [{}, { maxConnections: 3 }, { uploadBytesPerSecond: 1e6 }];
    for (const change of same) expect(credentialsPlace(parseStorageOptions({ ...sftp, ...change }))).toBe(place);
    const others = [{ host: 'b.internal' }, { port: 23 }, { user: 'other' }, { path: '/b' }, { hostKey: `SHA256:${'B'.repeat(43)}` }];
    for (const change of others) expect(credentialsPlace(parseStorageOptions({ ...sftp, ...change }))).not.toBe(place);
    expect(credentialsPlace({ type: 'local', path: '/a' })).toBeUndefined();
  });

  it('are checked by kind, and what is wrong is told without a value', () => {
    expect(checkStorageCredentials('local', undefined)).toEqual({ credentials: null });
    expect(checkStorageCredentials('local', { password: 'hush' })).toMatchObject({ issues: [{ path: [] }] });
    expect(checkStorageCredentials('sftp', { password: 'hush' })).toEqual({ credentials: { password: 'hush' } });
    for (const wrong of [null, {}, { password: ['hush'] }, { password: 'hush', more: 'hush' }, 'hush']) {
      const checked = checkStorageCredentials('sftp', wrong);
      expect(checked).toHaveProperty('issues');
      expect(inspect(checked)).not.toContain('hush');
    }
  });

  it("are the worker's own when they name where they come from", () => {
    expect(areAmbient({ from: 'environment' })).toBe(true);
    expect(areAmbient({ password: 'x' })).toBe(false);
    expect(areAmbient(null)).toBe(false);
  });

  it('go to the server of the options, and a proxy', () => {
    expect(storageAddresses(parseStorageOptions(sftp))).toEqual([{ host: 'a.internal', port: 22 }]);
    expect(storageAddresses({ type: 'local', path: '/a' })).toEqual([]);
  });
});

describe('openStorage', () => {
  const deps: OpenStorageDeps = {
    checkPath: async () => '/nonexistent/real',
    checkServer: () => {},
    credentials: async () => null,
    allowAmbientCredentials: false,
  };
  const s3 = parseStorageOptions({
    type: 's3',
    endpoint: 'https://s3.internal',
    region: 'eu',
    bucket: 'bucket',
    proxy: 'http://proxy.internal:3128',
  });

  it('opens the path that the check gives, and nothing when it throws', async () => {
    const storage = await openStorage({ type: 'local', path: '/a' }, deps);
    expect(storage.location).toBe('local:/nonexistent/real');
    const checkPath = async (): Promise<string> => Promise.reject(new HoldfastError('path_outside_roots', 'no'));
    await expect(openStorage({ type: 'local', path: '/a' }, { ...deps, checkPath })).rejects.toSatisfy((error) =>
      isHoldfastError(error, 'path_outside_roots'),
    );
  });

  it('asks about every server before credentials are read', async () => {
    const asked: string[] = [];
    const credentials = async (): Promise<never> => Promise.reject(new Error('credentials were read'));
    const checkServer = ({ host, port }: { host: string; port: number }): void => {
      asked.push(`${host}:${String(port)}`);
      if (host.startsWith('proxy')) throw new HoldfastError('storage_host_not_allowed', 'no');
    };
    await expect(openStorage(s3, { ...deps, credentials, checkServer })).rejects.toSatisfy((error) =>
      isHoldfastError(error, 'storage_host_not_allowed'),
    );
    expect(asked).toEqual(['s3.internal:443', 'proxy.internal:3128']);
  });

  it("takes the worker's own rights only when they are allowed", async () => {
    const credentials = async (): Promise<unknown> => ({ from: 'environment' });
    await expect(openStorage(s3, { ...deps, credentials })).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_denied'));
    onTestFinished(() => void vi.unstubAllEnvs());
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'key of the worker');
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret of the worker');
    await (await openStorage(s3, { ...deps, credentials, allowAmbientCredentials: true })).close();
  });

  it('says that credentials are unreadable, without showing them', async () => {
    const credentials = async (): Promise<unknown> => ({ accessKeyId: 'hush', secret: 'hush' });
    const opening = openStorage(s3, { ...deps, credentials });
    await expect(opening).rejects.toSatisfy((error) => isHoldfastError(error, 'secret_unreadable') && !inspect(error).includes('hush'));
  });
});
