import { describe, expect, it } from 'vitest';
import { ftpAddress, ftpCredentialsSchema, ftpLocation, ftpOptionsSchema } from './ftp-options.ts';

const options = { type: 'ftp', host: 'ftp.example.com', user: 'holdfast', path: 'a' } as const;

describe('options of FTP storages', () => {
  it('takes a host, a user and a path, and everything else as it is left out', () => {
    expect(ftpOptionsSchema.parse(options)).toEqual(options);
    expect(ftpOptionsSchema.parse({ ...options, port: 2121, tls: 'none', verifyUploads: 'size', maxConnections: 2 })).toMatchObject({
      tls: 'none',
    });
  });

  it.each([
    ['path', 'a\r\nDELE b'],
    ['path', 'a\nb'],
    ['path', 'a\0'],
    ['path', '../a'],
    ['path', 'a/../b'],
    ['path', ''],
    ['user', 'a\r\nPASS b'],
    ['user', ''],
    ['host', 'a b'],
    ['host', 'http://a'],
    ['port', 0],
    ['tls', 'maybe'],
    ['verifyUploads', 'never'],
    ['password', 'secret'],
  ])('refuses %s %j', (field, value) => {
    expect(ftpOptionsSchema.safeParse({ ...options, [field]: value }).success).toBe(false);
  });

  it('takes no password that would end a command', () => {
    expect(ftpCredentialsSchema.safeParse({ password: 'ä b"c' }).success).toBe(true);
    for (const password of ['', 'a\rb', 'a\nb', 'a\0b']) expect(ftpCredentialsSchema.safeParse({ password }).success).toBe(false);
  });
});

describe('location of an FTP storage', () => {
  const keyOf = (more: object): string => ftpLocation(ftpOptionsSchema.parse({ ...options, ...more }));

  it('is one key for one place', () => {
    expect(keyOf({})).toBe('ftp:holdfast@ftp.example.com:21/~/a');
    for (const same of [
      { host: 'FTP.example.COM' },
      { host: 'ftp.example.com.' },
      { port: 21 },
      { path: 'a/' },
      { path: 'a//' },
      { tls: 'none' },
    ]) {
      expect(keyOf(same)).toBe(keyOf({}));
    }
    expect(keyOf({ path: '/a//b/' })).toBe(keyOf({ path: '/a/b' }));
    expect(keyOf({ host: '0:0:0:0:0:0:0:1' })).toBe(keyOf({ host: '::1' }));
  });

  it('differs for other places', () => {
    const others = [
      { path: '/a' },
      { path: 'b' },
      { path: '/~/a' },
      { path: '%7E/a' },
      { user: 'other' },
      { user: 'a@b' },
      { port: 2121 },
      { tls: 'implicit' },
    ];
    const keys = [{}, ...others].map(keyOf);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('begins with the key of a place above, and a slash', () => {
    expect(keyOf({ path: 'a/b' }).startsWith(`${keyOf({ path: 'a' })}/`)).toBe(true);
    expect(keyOf({ path: '/a' }).startsWith(`${keyOf({ path: '/' })}/`)).toBe(true);
  });

  it('names the address that is connected to', () => {
    expect(ftpAddress({ ...options, tls: 'implicit' })).toEqual({ host: 'ftp.example.com', port: 990 });
    expect(ftpAddress({ ...options, host: '::1', port: 2121 })).toEqual({ host: '::1', port: 2121 });
  });
});
