import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it } from 'vitest';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { openStorage } from './open-storage.ts';
import { locationKey, parseStorageOptions } from './storage-options.ts';

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
    expect(() => parseStorageOptions({ type: 's3', bucket: 'a' })).toThrow(
      expect.objectContaining({ code: 'type_not_supported', message: expect.stringContaining('local') }),
    );
  });

  it('gives one key for one place', () => {
    const keys = ['/a/b', '/a/b/', '/a//b', '/a/c/../b', '/a/./b'].map((path) => locationKey({ type: 'local', path }));
    expect(new Set(keys)).toEqual(new Set(['local:/a/b']));
    expect(locationKey({ type: 'local', path: '/' })).toBe('local:/');
  });
});

describe('openStorage', () => {
  it('opens the path that the check gives, and nothing when it throws', async () => {
    const storage = await openStorage({ type: 'local', path: '/a' }, { checkPath: async () => '/nonexistent/real' });
    expect(storage.location).toBe('local:/nonexistent/real');
    const checkPath = async (): Promise<string> => Promise.reject(new HoldfastError('path_outside_roots', 'no'));
    await expect(openStorage({ type: 'local', path: '/a' }, { checkPath })).rejects.toSatisfy((error) =>
      isHoldfastError(error, 'path_outside_roots'),
    );
  });
});
