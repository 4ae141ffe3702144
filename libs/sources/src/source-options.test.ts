import { describe, expect, it } from 'vitest';
import { recoveryOptionsSchema } from './recovery-options.ts';
import { parseSourceOptions } from './source-options.ts';

describe('source options', () => {
  it('takes absolute paths and patterns', () => {
    const options = { type: 'file_system', paths: ['/srv/a'], excludes: ['*.tmp', '/srv/a/cache'] };
    expect(parseSourceOptions(options)).toEqual(options);
  });

  it('takes everything else that says what is taken', () => {
    const options = {
      type: 'file_system',
      paths: ['/srv/a'],
      excludeFiles: ['/srv/patterns'],
      includes: ['*.txt'],
      excludeIfPresent: [{ name: '.nobackup' }, { name: 'CACHEDIR.TAG', header: 'Signature' }],
      excludeCaches: true,
      oneFileSystem: true,
      excludeLargerThanBytes: 0,
    };
    expect(parseSourceOptions(options)).toEqual(options);
  });

  it.each([
    [{ type: 'file_system', paths: ['/a'], excludeFiles: ['a'] }],
    [{ type: 'file_system', paths: ['/a'], includes: ['['] }],
    [{ type: 'file_system', paths: ['/a'], excludeIfPresent: [{ name: 'a/b' }] }],
    [{ type: 'file_system', paths: ['/a'], excludeIfPresent: [{ name: '..' }] }],
    [{ type: 'file_system', paths: ['/a'], excludeLargerThanBytes: -1 }],
    [{ type: 'file_system', paths: ['/a'], excludeLargerThanBytes: 1.5 }],
    [{ type: 'file_system' }],
    [{ type: 'file_system', paths: [] }],
    [{ type: 'file_system', paths: ['a'] }],
    [{ type: 'file_system', paths: ['/a\0'] }],
    [{ type: 'file_system', paths: Array.from({ length: 65 }, () => '/a') }],
    [{ type: 'file_system', paths: ['/a'], excludes: ['['] }],
    [{ type: 'file_system', paths: ['/a'], more: true }],
    [{ paths: ['/a'] }],
    [undefined],
  ])('refuses %j', (value) => {
    expect(() => parseSourceOptions(value)).toThrow(expect.objectContaining({ code: 'request_invalid' }));
  });

  it('says which kinds are there when another one is asked for', () => {
    expect(() => parseSourceOptions({ type: 'postgresql' })).toThrow(
      expect.objectContaining({ code: 'type_not_supported', message: expect.stringContaining('file_system') }),
    );
  });
});

describe('recovery options', () => {
  it('recovers everything and overwrites nothing unless told', () => {
    expect(recoveryOptionsSchema.parse({})).toEqual({ overwrite: false });
    expect(recoveryOptionsSchema.safeParse({ paths: [] }).success).toBe(false);
    expect(recoveryOptionsSchema.safeParse({ paths: ['a'] }).success).toBe(false);
    expect(recoveryOptionsSchema.safeParse({ overwrite: true, more: 1 }).success).toBe(false);
  });
});
