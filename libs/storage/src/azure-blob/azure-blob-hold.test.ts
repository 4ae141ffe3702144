import { once } from 'node:events';
import { createServer } from 'node:http';
import { assert, describe, expect, it } from 'vitest';
import { isHolding } from '../hold.ts';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import type { AzureBlobOptions } from './azure-blob-options.ts';
import { openAzureBlobStorage } from './azure-blob-storage.ts';

interface Service extends AsyncDisposable {
  readonly url: string;
  /** Method and name of each request. */
  readonly asked: readonly string[];
}

/** Says of every blob what `more` does, and takes its delete or refuses it. */
async function openService(more: Record<string, string>, refuses = false): Promise<Service> {
  const asked: string[] = [];
  const listener = createServer((request, response) => {
    asked.push(`${request.method} ${request.url?.split('/').at(-1)}`);
    const headers = { etag: '"a"', 'last-modified': new Date(0).toUTCString(), ...more };
    if (request.method !== 'DELETE') response.writeHead(200, headers).end();
    else if (refuses) response.writeHead(409, { 'x-ms-error-code': 'BlobImmutableDueToPolicy' }).end();
    else response.writeHead(202).end();
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('the service has no port');
  return {
    url: `http://127.0.0.1:${String(address.port)}`,
    asked,
    async [Symbol.asyncDispose]() {
      listener.close();
      listener.closeAllConnections();
      await once(listener, 'close');
    },
  };
}

const openAt = async ({ url }: Service, more: Partial<AzureBlobOptions> = {}): Promise<Storage> =>
  openAzureBlobStorage(
    { type: 'azure_blob', account: 'holdfasttests', container: 'holdfast', endpoint: url, ...more },
    { accountKey: Buffer.alloc(64, 1).toString('base64') },
    defaultAdapterSettings,
  );

/** Azurite keeps no policy and no hold: these are the service's answers as its documentation has them. */
describe('a blob that is held', () => {
  const immutability = { days: 30, mode: 'locked' } as const;
  const until = new Date(Date.now() + 24 * 60 * 60 * 1000).toUTCString();
  const freeAt = new Date(until).toISOString();

  it('is not deleted, and tells until when', async () => {
    const policy = { 'x-ms-immutability-policy-until-date': until, 'x-ms-immutability-policy-mode': 'locked' };
    await using service = await openService(policy);
    const storage = await openAt(service, { immutability });
    assert(isHolding(storage));
    expect(await storage.holdOf('data/ab/ab')).toEqual({ freeAt: new Date(freeAt) });
    await expect(storage.delete('data/ab/ab')).rejects.toMatchObject({ code: 'storage_object_held', context: { freeAt } });
    expect(service.asked).toEqual(['HEAD ab', 'HEAD ab']);
    // Locks have no such time, and are not asked for.
    await storage.delete('locks/aa');
    expect(service.asked).toEqual(['HEAD ab', 'HEAD ab', 'DELETE aa']);
  });

  it.each([
    [{ 'x-ms-legal-hold': 'true' }, { freeAt: null }],
    [{ 'x-ms-immutability-policy-until-date': new Date(0).toUTCString() }, undefined],
    [{}, undefined],
  ])('or is not, by %o', async (headers, hold) => {
    await using service = await openService(headers);
    const storage = await openAt(service, { immutability });
    assert(isHolding(storage));
    expect(await storage.holdOf('data/ab/ab')).toEqual(hold);
  });

  it('by the container itself is told by its delete', async () => {
    await using service = await openService({}, true);
    const storage = await openAt(service);
    expect(isHolding(storage)).toBe(false);
    await expect(storage.delete('data/ab/ab')).rejects.toMatchObject({
      code: 'storage_object_held',
      context: { freeAt: null, serverCode: 'BlobImmutableDueToPolicy' },
    });
  });
});
