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
    expect(() => parseSourceOptions({ type: 'tape' })).toThrow(
      expect.objectContaining({ code: 'type_not_supported', message: expect.stringContaining('file_system') }),
    );
  });
});

describe('recovery options', () => {
  it('recovers everything and overwrites nothing unless told', () => {
    expect(recoveryOptionsSchema.parse({})).toEqual({
      overwrite: false,
      start: false,
      toOriginal: false,
      stripComponents: 0,
      deletesExtra: false,
      owners: 'keep',
      dryRun: false,
    });
    expect(recoveryOptionsSchema.safeParse({ paths: [] }).success).toBe(false);
    expect(recoveryOptionsSchema.safeParse({ paths: ['a'] }).success).toBe(false);
    expect(recoveryOptionsSchema.safeParse({ overwrite: true, more: 1 }).success).toBe(false);
  });
});

describe('a PostgreSQL server', () => {
  const server = { type: 'postgresql', method: 'logical', connection: { host: 'db.internal', user: 'reader' } };

  it('is filled in with the usual port and database, and with TLS that is verified', () => {
    expect(parseSourceOptions(server)).toEqual({
      ...server,
      connection: { ...server.connection, port: 5432, database: 'postgres', tls: { mode: 'verify-full' } },
    });
  });

  it('is taken as its files, as fast as is said', () => {
    const { connection } = server;
    expect(parseSourceOptions({ type: 'postgresql', method: 'physical', connection, maxRateKiB: 32 })).toMatchObject({ maxRateKiB: 32 });
  });

  it.each([
    ['an unknown method', { method: 'telepathy' }],
    ['no method', { method: undefined }],
    ['some of the databases of all files', { method: 'physical', databases: ['shop'] }],
    ['a rate that the server does not take', { method: 'physical', maxRateKiB: 31 }],
    ['a password beside the user', { connection: { ...server.connection, password: 'x' } }],
    ['a socket folder', { connection: { ...server.connection, host: '/run/postgresql' } }],
    ['a name that is too long', { databases: ['d'.repeat(64)] }],
    ['a certificate without TLS', { connection: { ...server.connection, tls: { mode: 'disable', ca: '-----BEGIN CERTIFICATE-----' } } }],
    ['no database at all', { databases: [] }],
    ['too many connections', { connections: 17 }],
    ['no time for a lock', { lockTimeoutSeconds: 0 }],
    ['a table without its schema', { excludeTables: ['orders'] }],
  ])('%s is refused', (_, more) => {
    expect(() => parseSourceOptions({ ...server, ...more })).toThrow(expect.objectContaining({ code: 'request_invalid' }));
  });
});
