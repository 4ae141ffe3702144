import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { acceptedFingerprints, fingerprintOf, hostKeyAlgorithms } from './sftp-host-key.ts';
import { sftpAddress, sftpCredentialsSchema, sftpLocation, sftpOptionsSchema, type SftpOptions } from './sftp-options.ts';

/** A key's bytes: its type and something behind it, each with its length before it. */
function blobOf(type: string): Buffer {
  const text = (value: Buffer): Buffer => Buffer.concat([Buffer.from([0, 0, 0, value.byteLength]), value]);
  return Buffer.concat([text(Buffer.from(type)), text(Buffer.alloc(32, type.length))]);
}
const lineOf = (type: string): string => `${type} ${blobOf(type).toString('base64')}`;
const ed25519 = lineOf('ssh-ed25519');
const options: SftpOptions = { type: 'sftp', host: 'backup.example.com', user: 'holdfast', path: '/a', hostKey: ed25519 };

describe('sftp options', () => {
  it.each<Record<string, unknown>>([
    {},
    { port: 2222, maxConnections: 4, uploadBytesPerSecond: 1_000_000 },
    { path: 'below/home' },
    { hostKey: `${ed25519} root@backup` },
    { hostKey: [ed25519, fingerprintOf(blobOf('ssh-rsa'))] },
    { hostKey: `${fingerprintOf(blobOf('ssh-rsa'))}=` },
    { user: 'Domain\\user' },
  ])('take %j', (more) => {
    expect(sftpOptionsSchema.safeParse({ ...options, ...more }).error).toBeUndefined();
  });

  it.each<Record<string, unknown>>([
    { hostKey: undefined },
    { hostKey: [] },
    { hostKey: 'any' },
    { hostKey: 'MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48' },
    { hostKey: `backup.example.com ${ed25519}` },
    { hostKey: `${ed25519}\nssh-rsa AAAA` },
    { hostKey: lineOf('ssh-dss') },
    { path: '../a' },
    { path: '/a/./b' },
    { path: '' },
    { user: '' },
    { user: 'a\nb' },
    { port: 0 },
    { proxy: 'http://proxy.example.com:3128' },
    { password: 'secret' },
  ])('refuse %j', (more) => {
    expect(sftpOptionsSchema.safeParse({ ...options, ...more }).success).toBe(false);
  });

  it('take a password, or a key with or without a passphrase, and no mixture', () => {
    for (const given of [{ password: 'a' }, { privateKey: 'a' }, { privateKey: 'a', passphrase: 'b' }]) {
      expect(sftpCredentialsSchema.safeParse(given).success).toBe(true);
    }
    for (const given of [{}, { password: '' }, { password: 'a', privateKey: 'b' }, { privateKey: 'a', passphrase: '' }, null]) {
      expect(sftpCredentialsSchema.safeParse(given).success).toBe(false);
    }
  });

  it.each<[Partial<SftpOptions>, string]>([
    [{}, 'sftp:holdfast@backup.example.com:22/a'],
    [{ port: 22, host: 'Backup.Example.COM.', path: '//a/' }, 'sftp:holdfast@backup.example.com:22/a'],
    [{ path: '/' }, 'sftp:holdfast@backup.example.com:22'],
    [{ path: 'a' }, 'sftp:holdfast@backup.example.com:22/~/a'],
    [{ path: '/~/a' }, 'sftp:holdfast@backup.example.com:22/%7E/a'],
    [{ path: '~/a' }, 'sftp:holdfast@backup.example.com:22/~/%7E/a'],
    [{ path: '/a%7E' }, 'sftp:holdfast@backup.example.com:22/a%257E'],
    [{ host: '0:0::1', port: 2022 }, 'sftp:holdfast@[::1]:2022/a'],
    [{ user: 'a@b/c' }, 'sftp:a%40b%2Fc@backup.example.com:22/a'],
    [{ hostKey: [lineOf('ssh-rsa')], maxConnections: 2 }, 'sftp:holdfast@backup.example.com:22/a'],
  ])('%j lead to %s', (more, location) => {
    expect(sftpLocation({ ...options, ...more })).toBe(location);
  });

  it('name the server', () => {
    expect(sftpAddress(options)).toEqual({ host: 'backup.example.com', port: 22 });
    expect(sftpAddress({ ...options, host: '::1', port: 2022 })).toEqual({ host: '::1', port: 2022 });
  });
});

describe('host keys', () => {
  it('are known by their fingerprint, however they were given', () => {
    const blob = blobOf('ssh-ed25519');
    const expected = `SHA256:${createHash('sha256').update(blob).digest('base64').slice(0, 43)}`;
    expect(fingerprintOf(blob)).toBe(expected);
    for (const given of [ed25519, `${ed25519} a comment`, expected, `${expected}=`]) {
      expect([...acceptedFingerprints([given])]).toEqual([expected]);
    }
  });

  it('are asked for by their types, and by every type where a fingerprint hides it', () => {
    expect(hostKeyAlgorithms([ed25519])).toEqual(['ssh-ed25519']);
    expect(hostKeyAlgorithms([lineOf('ssh-rsa'), ed25519])).toEqual(['ssh-ed25519', 'rsa-sha2-512', 'rsa-sha2-256']);
    expect(hostKeyAlgorithms([fingerprintOf(blobOf('ssh-rsa'))])).toHaveLength(6);
  });
});
