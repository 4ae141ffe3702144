import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { type AzureBlobServer, startAzureBlobServer } from '../testing/azure-blob-server.ts';
import { type EntraServer, startEntraServer } from '../testing/entra-server.ts';
import type { AzureBlobCredentials, AzureBlobOptions } from './azure-blob-options.ts';
import { openAzureBlobStorage } from './azure-blob-storage.ts';

let server: AzureBlobServer;
let entra: EntraServer;
let options: AzureBlobOptions;
beforeAll(async () => {
  server = await startAzureBlobServer({ persistence: 'memory', isTls: true, takesTokens: true });
  if (server.certificate === undefined) throw new Error('the server has no certificate');
  entra = await startEntraServer(server.certificate);
  options = await server.newContainer();
});
afterAll(async () => {
  await entra?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

const open = (credentials: AzureBlobCredentials): Promise<Storage> =>
  openAzureBlobStorage(options, credentials, defaultAdapterSettings, entra.machineOrigin);
const byApplication = (more: object = {}): AzureBlobCredentials => ({ ...entra.application, authority: entra.authority, ...more });
let nameCount = 0;
const newName = (): string => `data/ab/${String(++nameCount)}`;

describe('tokens of Entra ID', () => {
  it.each([
    ['of an application', () => byApplication()],
    ['of the machine', () => ({ from: 'instance_role' }) as const],
    ['of one of the identities of the machine', () => ({ from: 'instance_role', clientId: entra.identityId }) as const],
  ])('%s let in, one for all calls', async (_, credentials) => {
    entra.given.length = 0;
    const storage = await open(credentials());
    const name = newName();
    await storage.put(name, Buffer.from('bytes'));
    const [bytes] = await Promise.all([storage.get(name), storage.stat(name), Array.fromAsync(storage.list('data/'))]);
    expect(Buffer.from(bytes).toString()).toBe('bytes');
    await storage.delete(name);
    expect(entra.given).toHaveLength(1);
    await storage.close();
  });

  it('that end soon are fetched anew', async () => {
    entra.given.length = 0;
    entra.setLife(1);
    const storage = await open(byApplication());
    for (let count = 0; count < 3; count++) await storage.put(newName(), Buffer.from('x'));
    entra.setLife(3600);
    expect(entra.given.length).toBeGreaterThan(1);
    await storage.close();
  });

  it.each([
    ['a secret that is wrong', { clientSecret: 'wrong-secret~1234567890' }, 'invalid_client, AADSTS7000215'],
    ['a tenant that is not there', { tenantId: 'elsewhere.example' }, 'invalid_tenant'],
  ])('are not had for %s, which no error says again', async (_, more, said) => {
    const storage = await open(byApplication(more));
    const failing = storage.put(newName(), Buffer.from('x'));
    await expect(failing).rejects.toMatchObject({ code: 'storage_denied', message: expect.stringContaining(said) as string });
    const error: unknown = await failing.catch((thrown: unknown) => thrown);
    expect(inspect(error, { depth: 9 })).not.toMatch(/wrong-secret|a-secret/u);
    await storage.close();
  });

  it('are not had for an identity that the machine does not have', async () => {
    const storage = await open({ from: 'instance_role', clientId: entra.application.clientId });
    await expect(storage.stat('config')).rejects.toMatchObject({ code: 'storage_denied' });
    await storage.close();
  });

  it('are waited for when their server is busy or away', async () => {
    const storage = await open(byApplication());
    for (const status of [429, 500, 503]) {
      entra.refuseOnce(status, { error: 'temporarily_unavailable' });
      await expect(storage.stat('config')).rejects.toMatchObject({ code: 'storage_unreachable' });
    }
    entra.refuseOnce(200, { hello: 'world' });
    await expect(storage.stat('config')).rejects.toMatchObject({ code: 'storage_unreachable' });
    await expect(storage.stat('config')).rejects.toMatchObject({ code: 'storage_object_missing' });
    await storage.close();
  });

  it('that the service does not take are no reason to wait', async () => {
    entra.refuseOnce(200, { access_token: 'of.somebody.else', expires_in: 3600 });
    const storage = await open(byApplication());
    await expect(storage.stat('config')).rejects.toMatchObject({ code: 'storage_denied' });
    await storage.close();
  });

  it('are fetched from nowhere else, and sent over no line without TLS', async () => {
    const denied = expect.objectContaining({ code: 'storage_denied' }) as unknown;
    await expect(open(byApplication({ authority: 'https://login.microsoftonline.example' }))).rejects.toEqual(denied);
    const plain = { ...options, endpoint: options.endpoint?.replace('https:', 'http:') };
    await expect(openAzureBlobStorage(plain as AzureBlobOptions, byApplication(), defaultAdapterSettings)).rejects.toEqual(denied);
  });
});
