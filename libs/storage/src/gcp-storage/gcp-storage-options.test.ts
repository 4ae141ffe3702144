import { expect, it } from 'vitest';
import {
  gcpStorageAddress,
  gcpStorageCredentialsSchema,
  gcpStorageLocation,
  gcpStorageOptionsSchema,
  gcpTokenUrl,
  type GcpStorageOptions,
} from './gcp-storage-options.ts';

const options = (more: Partial<GcpStorageOptions> = {}): GcpStorageOptions =>
  gcpStorageOptionsSchema.parse({ type: 'gcp_storage', bucket: 'backups', ...more });
const isOptions = (more: object): boolean => gcpStorageOptionsSchema.safeParse({ type: 'gcp_storage', bucket: 'backups', ...more }).success;

const pem = '-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n';
const keyFile = {
  type: 'service_account',
  project_id: 'p',
  private_key_id: 'abc',
  private_key: pem,
  client_email: 'a@p.iam.gserviceaccount.com',
  auth_uri: 'https://accounts.google.com/o/oauth2/auth',
  token_uri: 'https://oauth2.googleapis.com/token',
};
const isCredentials = (value: unknown): boolean => gcpStorageCredentialsSchema.safeParse(value).success;

it('takes what a bucket can be', () => {
  expect(isOptions({ prefix: 'a/b', storageClass: 'ARCHIVE', retention: { days: 30, mode: 'locked' } })).toBe(true);
  expect(isOptions({ kmsKeyName: 'projects/p/locations/eu/keyRings/r/cryptoKeys/k', maxConnections: 4 })).toBe(true);
  expect(isOptions({ bucket: 'www.example.com_1-a' })).toBe(true);
});

it('refuses what a bucket cannot be, and what would leave it', () => {
  for (const bucket of ['', 'ab', 'Backups', '-backups', 'backups-', 'a/b', 'a b', '../x', 'a%2fb', 'b?x', 'b#x']) {
    expect(isOptions({ bucket }), bucket).toBe(false);
  }
  for (const prefix of ['', '/', 'a/', '/a', 'a//b', '../a', 'a/..', 'a/./b', 'a b', 'a\\b'])
    expect(isOptions({ prefix }), prefix).toBe(false);
  for (const endpoint of ['ftp://host', 'https://host/path', 'https://user:pw@host', 'host']) {
    expect(isOptions({ endpoint }), endpoint).toBe(false);
  }
  expect(isOptions({ retention: { days: 0, mode: 'locked' } })).toBe(false);
  expect(isOptions({ retention: { days: 1, mode: 'LOCKED' } })).toBe(false);
  expect(isOptions({ kmsKeyName: 'k' })).toBe(false);
  expect(isOptions({ storageClass: 'COLD' })).toBe(false);
  expect(isOptions({ serviceAccountKey: keyFile })).toBe(false);
});

it('gives equal places equal keys', () => {
  expect(gcpStorageLocation(options())).toBe('gcp_storage:https://storage.googleapis.com/backups');
  for (const endpoint of ['https://storage.googleapis.com', 'https://storage.googleapis.com:443', 'https://STORAGE.googleapis.com']) {
    expect(gcpStorageLocation(options({ endpoint }))).toBe(gcpStorageLocation(options()));
  }
  const regional = options({ endpoint: 'https://storage.europe-west3.rep.googleapis.com', prefix: 'a' });
  expect(gcpStorageLocation(regional)).toBe(gcpStorageLocation(options({ prefix: 'a' })));
  const own = options({ endpoint: 'http://storage.example:8080', prefix: 'a' });
  expect(gcpStorageLocation(own)).toBe('gcp_storage:http://storage.example:8080/backups/a');
  expect(gcpStorageLocation({ ...own, prefix: 'a/b' }).startsWith(`${gcpStorageLocation(own)}/`)).toBe(true);
  expect(gcpStorageLocation(options({ endpoint: 'https://notgoogleapis.com' }))).toBe('gcp_storage:https://notgoogleapis.com/backups');
});

it('names the server for the list of allowed hosts', () => {
  expect(gcpStorageAddress(options())).toEqual({ host: 'storage.googleapis.com', port: 443 });
  expect(gcpStorageAddress(options({ endpoint: 'http://[::1]:8080' }))).toEqual({ host: '::1', port: 8080 });
});

it("takes Google's file as text and as an object, and keeps only what is needed", () => {
  for (const serviceAccountKey of [keyFile, JSON.stringify(keyFile)]) {
    const parsed = gcpStorageCredentialsSchema.parse({ serviceAccountKey });
    expect(parsed).toEqual({
      serviceAccountKey: {
        type: 'service_account',
        private_key_id: 'abc',
        private_key: pem,
        client_email: keyFile.client_email,
        token_uri: keyFile.token_uri,
      },
    });
    expect(gcpStorageCredentialsSchema.parse(parsed)).toEqual(parsed);
  }
  expect(isCredentials({ from: 'instance_role' })).toBe(true);
});

it('refuses other credentials, and says nothing of them', () => {
  const { client_email: email, private_key: privateKey } = keyFile;
  for (const value of [
    null,
    {},
    { from: 'environment' },
    { serviceAccountKey: 'secret-text' },
    { serviceAccountKey: { client_email: email } },
    { serviceAccountKey: { ...keyFile, private_key: 'secret-text' } },
    { serviceAccountKey: { ...keyFile, token_uri: 'file:///etc/secret-text' } },
    { serviceAccountKey: { ...keyFile, type: 'external_account' } },
    { serviceAccountKey: { type: 'authorized_user', refresh_token: 'secret-text', client_email: email, private_key: privateKey } },
    { serviceAccountKey: keyFile, from: 'instance_role' },
  ]) {
    const parsed = gcpStorageCredentialsSchema.safeParse(value);
    expect(parsed.success).toBe(false);
    expect(JSON.stringify(parsed.error)).not.toMatch(/secret-text|MIIB/u);
  }
});

it('asks for tokens at Google, or at the origin of the endpoint, and nowhere else', () => {
  const tokenUrl = (tokenUri: string, endpoint?: string): string | undefined =>
    gcpTokenUrl({ client_email: 'a@b', private_key: pem, token_uri: tokenUri }, endpoint)?.href;
  expect(tokenUrl('https://oauth2.googleapis.com/token')).toBe('https://oauth2.googleapis.com/token');
  expect(tokenUrl('https://oauth2.googleapis.com/token', 'https://storage.example')).toBe('https://oauth2.googleapis.com/token');
  expect(tokenUrl('http://storage.example:8080/token', 'http://storage.example:8080')).toBe('http://storage.example:8080/token');
  for (const tokenUri of [
    'http://oauth2.googleapis.com/token',
    'https://oauth2.googleapis.com:8443/token',
    'https://oauth2.googleapis.com.evil.example/token',
    'https://evil.example/token',
    'https://user@oauth2.googleapis.com/token',
    'https://oauth2.googleapis.com/token?x=1',
    'http://169.254.169.254/token',
    'http://storage.example:8081/token',
    'https://storage.example:8080/token',
  ]) {
    expect(tokenUrl(tokenUri, 'http://storage.example:8080'), tokenUri).toBeUndefined();
  }
});
