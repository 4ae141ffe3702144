import { describe, expect, it } from 'vitest';
import {
  azureBlobAddress,
  azureBlobCredentialsSchema,
  azureBlobEndpoint,
  azureBlobLocation,
  type AzureBlobOptions,
  azureBlobOptionsSchema,
  entraAuthority,
} from './azure-blob-options.ts';

const least = { type: 'azure_blob', account: 'mybackups', container: 'holdfast' } as const;
const key = Buffer.alloc(64, 7).toString('base64');
const sas = 'sv=2024-11-04&spr=https&st=2026-01-01T00%3A00%3A00Z&se=2027-01-01T00:00:00Z&sr=c&sp=rcdl&sig=a%2Bb%2Fc%3D';

describe('options of azure_blob', () => {
  it.each<Partial<AzureBlobOptions>>([
    {},
    { prefix: 'a' },
    { prefix: 'databases/a.b/c@d+e=f' },
    { endpoint: 'https://mybackups.blob.core.usgovcloudapi.net' },
    { endpoint: 'https://mybackups.blob.core.windows.net/' },
    { endpoint: 'http://127.0.0.1:10000/devstoreaccount1' },
    { endpoint: 'http://[::1]:10000/devstoreaccount1/' },
    { accessTier: 'cold' },
    { immutability: { days: 30, mode: 'locked' } },
    { maxConnections: 4, uploadBytesPerSecond: 1_000_000, proxy: 'http://proxy:3128' },
  ])('take %j', (more) => {
    expect(azureBlobOptionsSchema.parse({ ...least, ...more })).toEqual({ ...least, ...more });
  });

  it.each([
    { account: 'My' },
    { account: 'my-backups' },
    { account: undefined },
    { container: 'a' },
    { container: 'a--b' },
    { container: '-ab' },
    { container: '$root' },
    { container: 'Abc' },
    { prefix: '' },
    { prefix: '/a' },
    { prefix: 'a/' },
    { prefix: 'a/../b' },
    { prefix: 'a./b' },
    { prefix: 'a/b.' },
    { prefix: 'a?b' },
    { prefix: 'a'.repeat(901) },
    { endpoint: 'https://host/a/b' },
    { endpoint: 'https://host/a%2e' },
    { endpoint: 'https://host/..' },
    { endpoint: 'https://host/devstoreaccount1?sig=a' },
    { endpoint: 'https://user@host' },
    { endpoint: 'https://user:secret@host/devstoreaccount1' },
    { endpoint: 'ftp://host' },
    { endpoint: 'host' },
    { accessTier: 'archive' },
    { immutability: { days: 0, mode: 'locked' } },
    { immutability: { days: 1 } },
    { accountKey: key },
    { more: 1 },
  ])('refuse %j', (more) => {
    expect(azureBlobOptionsSchema.safeParse({ ...least, ...more }).success).toBe(false);
  });

  it('give one location for one place, and that of a folder below begins with it', () => {
    const options = (more: Partial<AzureBlobOptions>): AzureBlobOptions => ({ ...least, ...more });
    const same = [
      {},
      { endpoint: 'https://mybackups.blob.core.windows.net' },
      { endpoint: 'https://mybackups.blob.core.windows.net/' },
      { endpoint: 'HTTPS://MyBackups.Blob.core.windows.net:443' },
      { endpoint: 'https://mybackups.blob.core.windows.net.' },
      { accessTier: 'cool' as const, maxConnections: 2 },
    ].map((more) => azureBlobLocation(options(more)));
    expect(new Set(same)).toEqual(new Set(['azure_blob:https://mybackups.blob.core.windows.net/holdfast']));
    expect(azureBlobLocation(options({ prefix: 'a/b' }))).toBe(`${same[0] ?? ''}/a/b`);
    expect(azureBlobLocation(options({ endpoint: 'http://127.0.0.1:10000/devstoreaccount1/' }))).toBe(
      'azure_blob:http://127.0.0.1:10000/devstoreaccount1/holdfast',
    );
  });

  it('name the server that is talked to', () => {
    expect(azureBlobAddress(least)).toEqual({ host: 'mybackups.blob.core.windows.net', port: 443 });
    expect(azureBlobAddress({ ...least, endpoint: 'http://[::1]:10000/devstoreaccount1' })).toEqual({ host: '::1', port: 10_000 });
    expect(azureBlobEndpoint({ ...least, endpoint: 'http://host/devstoreaccount1/' })).toBe('http://host/devstoreaccount1');
  });
});

describe('credentials of azure_blob', () => {
  const application = { tenantId: '5f3c1f6e-0f0b-4c55-8a63-7f6f2a1b9c01', clientId: '0b8c2f5d-8a0e-4c1e-9a55-2d3f4b5c6d02' };
  const clientSecret = 'a-secret~of.the_application-12345678';

  it.each([
    { accountKey: key },
    { sasToken: sas },
    { sasToken: `?${sas}` },
    { ...application, clientSecret },
    { ...application, tenantId: 'contoso.onmicrosoft.com', clientSecret, authority: 'https://login.microsoftonline.us' },
    { from: 'instance_role' },
    { from: 'instance_role', clientId: application.clientId },
  ])('take what Azure gives out (%#)', (credentials) => {
    expect(azureBlobCredentialsSchema.parse(credentials)).toEqual(credentials);
  });

  it.each([
    {},
    { accountKey: '' },
    { accountKey: 'no base64!' },
    { accountKey: `${key}\n` },
    { accountKey: key, sasToken: sas },
    { sasToken: '' },
    { sasToken: 'sv=2024-11-04&sp=rcdl' },
    { sasToken: `${sas}&sig=b` },
    { sasToken: `${sas}&snapshot=2026-01-01` },
    { sasToken: `${sas}&versionid=1` },
    { sasToken: `${sas}&comp=acl` },
    { sasToken: `${sas}#a` },
    { sasToken: `https://mybackups.blob.core.windows.net/holdfast?${sas}` },
    { from: 'managed_identity' },
    { tenantId: 'a', clientId: 'b', clientSecret },
    { ...application, clientSecret: '' },
    { ...application, clientSecret: `${clientSecret} ` },
    { ...application, clientSecret, tenantId: '../elsewhere' },
    { ...application, clientSecret, tenantId: 'a/b' },
    { ...application, clientSecret, authority: 'https://login.microsoftonline.com/common' },
    { ...application, clientSecret, accountKey: key },
    { from: 'instance_role', clientId: 'mine' },
  ])('refuse others (%#), and do not say them again', (credentials) => {
    const parsed = azureBlobCredentialsSchema.safeParse(credentials);
    expect(parsed.success).toBe(false);
    const said = JSON.stringify(parsed.error?.issues);
    for (const secret of Object.values(credentials)) if (secret.length > 20) expect(said).not.toContain(secret);
  });
});

describe('the authority that a secret is sent to', () => {
  const account = 'mybackups';
  const hostOf = (authority?: string, endpoint?: string): string | undefined =>
    entraAuthority(authority === undefined ? {} : { authority }, endpoint === undefined ? { account } : { account, endpoint })?.url.origin;

  it('is that of the cloud of the endpoint', () => {
    expect(hostOf()).toBe('https://login.microsoftonline.com');
    expect(hostOf(undefined, 'https://mybackups.blob.core.usgovcloudapi.net')).toBe('https://login.microsoftonline.us');
    expect(hostOf(undefined, 'https://mybackups.blob.core.chinacloudapi.cn')).toBe('https://login.partner.microsoftonline.cn');
    expect(hostOf(undefined, 'https://10.0.0.5')).toBe('https://login.microsoftonline.com');
    expect(hostOf(undefined, 'https://core.windows.net.example.com')).toBe('https://login.microsoftonline.com');
  });

  it("is one of Microsoft's or at the host of the endpoint, and no other", () => {
    expect(hostOf('https://login.microsoftonline.us')).toBe('https://login.microsoftonline.us');
    expect(hostOf('https://azurite.internal:8443', 'https://azurite.internal:10000/mybackups')).toBe('https://azurite.internal:8443');
    expect(hostOf('http://login.microsoftonline.com')).toBeUndefined();
    expect(hostOf('http://azurite.internal', 'https://azurite.internal')).toBeUndefined();
    expect(hostOf('https://login.microsoftonline.com.example.com')).toBeUndefined();
    expect(hostOf('https://elsewhere.example', 'https://azurite.internal')).toBeUndefined();
  });
});
