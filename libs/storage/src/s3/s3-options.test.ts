import { describe, expect, it } from 'vitest';
import { s3Address, s3CredentialsSchema, s3Endpoint, s3Location, type S3Options, s3OptionsSchema, usesPathStyle } from './s3-options.ts';

const amazon: S3Options = { type: 's3', region: 'eu-central-1', bucket: 'backups' };
const own: S3Options = { ...amazon, endpoint: 'https://s3.example.org:9000' };
const keys = { accessKeyId: 'AKIA', secretAccessKey: 'secret' };

describe('options of a bucket', () => {
  it.each<object>([
    {},
    { region: 'RegionOne' },
    { bucket: 'a.b-c' },
    { prefix: 'a/b.c' },
    { endpoint: 'http://127.0.0.1:8080', pathStyle: false },
    { storageClass: 'STANDARD_IA' },
    { serverSideEncryption: 'AES256' },
    { serverSideEncryption: 'aws:kms', kmsKeyId: 'arn:aws:kms:eu-central-1:1:key/ab-c' },
    { objectLock: { mode: 'compliance', days: 30 } },
    { proxy: 'http://proxy:3128', maxConnections: 4, uploadBytesPerSecond: 1_000_000 },
  ])('take %j', (more) => {
    const options = { ...amazon, ...more };
    expect(s3OptionsSchema.parse(options)).toEqual(options);
  });

  it.each<object>([
    { region: '' },
    { region: 'eu/../x' },
    { region: 'a.b' },
    { bucket: 'ab' },
    { bucket: 'A-bucket' },
    { bucket: 'a..b' },
    { bucket: '-ab' },
    { bucket: 'a/b' },
    { bucket: '192.168.0.1' },
    { bucket: 'arn:aws:s3:::bucket' },
    { bucket: 'fast--use1-az4--x-s3' },
    { bucket: 'a'.repeat(64) },
    { prefix: '../b' },
    { prefix: 'a/' },
    { prefix: '' },
    { endpoint: 'https://user:word@host' },
    { endpoint: 'https://host/path' },
    { endpoint: 'ftp://host' },
    { storageClass: 'GLACIER' },
    { storageClass: 'DEEP_ARCHIVE' },
    { serverSideEncryption: 'aws:kms:dsse' },
    { kmsKeyId: 'abc' },
    { serverSideEncryption: 'AES256', kmsKeyId: 'abc' },
    { objectLock: { mode: 'legal', days: 1 } },
    { objectLock: { mode: 'compliance', days: 0 } },
    { objectLock: { mode: 'compliance' } },
    { secretAccessKey: 'secret' },
    { maxConnections: 65 },
  ])('refuse %j', (more) => {
    expect(s3OptionsSchema.safeParse({ ...amazon, ...more }).success).toBe(false);
  });
});

describe('credentials of a bucket', () => {
  it.each<object>([keys, { ...keys, sessionToken: 'a/b+c==' }, { from: 'environment' }, { from: 'instance_role' }])('take %j', (value) => {
    expect(s3CredentialsSchema.parse(value)).toEqual(value);
  });

  it.each<object>([
    {},
    { accessKeyId: 'a' },
    { ...keys, secretAccessKey: '' },
    { ...keys, secretAccessKey: 'two words' },
    { ...keys, accessKeyId: 'a\r\nx-amz-acl: public-read' },
    { ...keys, from: 'environment' },
    { from: 'file' },
  ])('refuse %j', (value) => {
    expect(s3CredentialsSchema.safeParse(value).success).toBe(false);
  });
});

describe('the place of a bucket', () => {
  it('has one key for all of the hosts that Amazon calls it by', () => {
    const places: Partial<S3Options>[] = [
      {},
      { region: 'us-east-1' },
      { endpoint: 'https://s3.eu-central-1.amazonaws.com' },
      { endpoint: 'https://S3.EU-central-1.amazonaws.com:443/' },
      { endpoint: 'https://s3.dualstack.eu-central-1.amazonaws.com' },
      { endpoint: 'https://s3-eu-central-1.amazonaws.com.' },
      { endpoint: 'https://s3.amazonaws.com', pathStyle: true },
    ];
    expect(new Set(places.map((place) => s3Location({ ...amazon, ...place })))).toEqual(new Set(['s3:https://s3.amazonaws.com/backups']));
    expect(s3Location({ ...amazon, region: 'cn-north-1' })).toBe('s3:https://s3.amazonaws.com.cn/backups');
    expect(s3Location({ ...amazon, region: 'us-gov-west-1' })).toBe('s3:https://s3.us-gov-west-1.amazonaws.com/backups');
  });

  it('begins with the key of the place above it', () => {
    const [above, below] = [s3Location({ ...own, prefix: 'a' }), s3Location({ ...own, prefix: 'a/b' })];
    expect(above).toBe('s3:https://s3.example.org:9000/backups/a');
    expect(below.startsWith(`${above}/`)).toBe(true);
    expect(above.startsWith(`${s3Location(own)}/`)).toBe(true);
    expect(s3Location({ ...own, endpoint: 'https://s3.example.org:9000/' })).toBe(s3Location(own));
  });

  it.each<[Partial<S3Options>, string, number]>([
    [{}, 'backups.s3.eu-central-1.amazonaws.com', 443],
    [{ region: 'cn-north-1' }, 'backups.s3.cn-north-1.amazonaws.com.cn', 443],
    [{ bucket: 'a.b' }, 's3.eu-central-1.amazonaws.com', 443],
    [{ pathStyle: true }, 's3.eu-central-1.amazonaws.com', 443],
    [{ endpoint: own.endpoint }, 's3.example.org', 9000],
    [{ endpoint: own.endpoint, pathStyle: false }, 'backups.s3.example.org', 9000],
    [{ endpoint: 'http://127.0.0.1', pathStyle: false }, '127.0.0.1', 80],
    [{ endpoint: 'http://[::1]:8080', pathStyle: false }, '::1', 8080],
  ])('%j is reached at %s, port %i', (more, host, port) => {
    const options = { ...amazon, ...more };
    expect(s3Address(options)).toEqual({ host, port });
    expect(usesPathStyle(options)).toBe(!host.startsWith(`${options.bucket}.`));
    expect(s3Endpoint(options)).toContain(host.replace('backups.', ''));
  });
});
