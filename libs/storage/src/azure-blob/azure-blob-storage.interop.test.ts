import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openLocalStorage } from '../local/local-storage.ts';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { type AzureBlobServer, openAzureProxy, startAzureBlobServer } from '../testing/azure-blob-server.ts';
import { openAzureBlobStorage } from './azure-blob-storage.ts';

const run = promisify(execFile);

let server: AzureBlobServer;
beforeAll(async () => {
  server = await startAzureBlobServer({ persistence: 'memory', isTls: true });
});
afterAll(() => server[Symbol.asyncDispose]());

/**
 * restic knows an account by its address at Azure alone: a proxy brings it to the server here. Only the restic on the PATH takes part:
 * newer ones of Debian are built without this kind.
 */
describe('a container under restic', () => {
  it('takes a repository that Holdfast copied there, and gives it back', async () => {
    const { base, restic, place, storage } = await setUp('databases/a');
    await writeFile(join(base, 'file'), 'content');
    const made = join(base, 'made');
    await restic(made, 'init');
    await restic(made, 'backup', join(base, 'file'));
    await copy(await openLocalStorage({ path: made }), storage);

    await restic(place, 'check', '--read-data');
    await writeFile(join(base, 'file'), 'other content');
    await restic(place, 'backup', join(base, 'file'));
    await restic(place, 'forget', '--keep-last', '1', '--prune');
    await restic(place, 'check', '--read-data');
    expect(await restic(place, 'dump', 'latest', join(base, 'file'))).toBe('other content');

    const back = join(base, 'back');
    await copy(storage, await openLocalStorage({ path: back }));
    await restic(back, 'check', '--read-data');
    expect(await restic(back, 'dump', 'latest', join(base, 'file'))).toBe('other content');
  });

  it('gives Holdfast a repository that restic made there, lock and all', async () => {
    const { base, restic, place, storage } = await setUp();
    await writeFile(join(base, 'file'), Buffer.alloc(3_000_000, 'content'));
    await restic(place, 'init');
    await restic(place, 'backup', join(base, 'file'));
    const listed = await Array.fromAsync(storage.list(''));
    expect(new Set(listed.map(({ name }) => name.split('/')[0]))).toEqual(new Set(['config', 'data', 'index', 'keys', 'snapshots']));
    for (const object of listed) expect(await storage.stat(object.name)).toEqual(object);

    const back = join(base, 'back');
    await copy(storage, await openLocalStorage({ path: back }));
    await restic(back, 'check', '--read-data');

    const [snapshot] = listed.filter(({ name }) => name.startsWith('snapshots/'));
    await storage.delete(snapshot?.name ?? '');
    expect(await restic(place, 'snapshots', '--json')).toMatch(/^(?:null|\[\])$/);
  });
});

async function setUp(prefix?: string) {
  const base = await mkdtemp(join(tmpdir(), 'holdfast-interop-'));
  onTestFinished(() => rm(base, { recursive: true }));
  const proxy = await openAzureProxy(server);
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  const options = await server.newContainer(prefix === undefined ? {} : { prefix });
  const storage = await openAzureBlobStorage(options, { accountKey: server.accountKey }, defaultAdapterSettings);
  onTestFinished(() => storage.close());
  const env = {
    ...process.env,
    RESTIC_PASSWORD: 'secret',
    AZURE_ACCOUNT_NAME: server.account,
    AZURE_ACCOUNT_KEY: server.accountKey,
    HTTPS_PROXY: proxy.url,
    NO_PROXY: '',
  };
  const certificate = server.certificate?.path ?? '';
  const restic = async (repository: string, ...args: string[]): Promise<string> => {
    const { stdout } = await run('restic', ['--repo', repository, '--no-cache', '--cacert', certificate, ...args], { env });
    return stdout.trim();
  };
  return { base, restic, place: `azure:${options.container}:/${prefix ?? ''}`, storage };
}

async function copy(from: Storage, to: Storage): Promise<void> {
  for await (const { name } of from.list('')) {
    if (!name.startsWith('locks/')) await to.put(name, await from.get(name));
  }
}
