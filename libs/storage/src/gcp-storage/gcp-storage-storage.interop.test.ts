import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openLocalStorage } from '../local/local-storage.ts';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import { allPermissions } from '../testing/gcp-storage-accounts.ts';
import { makeCertificate } from '../testing/gcp-storage-certificate.ts';
import { openGcpStorageProxy } from '../testing/gcp-storage-proxy.ts';
import { openGcpStorageServer } from '../testing/gcp-storage-server.ts';
import { gcpStorageCredentialsSchema, gcpStorageOptionsSchema } from './gcp-storage-options.ts';
import { openGcpStorage } from './gcp-storage-storage.ts';

/**
 * Stock restic, with Google's client for Go, at the same bucket. Both ways: what we wrote is read, checked and added to by restic, and what
 * restic wrote is read by us. Both believe that they speak with Google: a proxy leads Google's own names to the stand-in server, which has a
 * certificate for them, and both sign with the same file of a service account. It also keeps the stand-in honest: it has to do for a client
 * that its author did not write.
 */
const run = promisify(execFile);
const newer = process.env['RESTIC_NEWER_BIN'];

describe.each(['restic', ...(newer === undefined ? [] : [newer])])('a bucket of Google Cloud Storage under %s', (restic) => {
  it('takes a repository of ours, and gives one of its own', async () => {
    const base = await mkdtemp(join(tmpdir(), 'holdfast-interop-'));
    onTestFinished(() => rm(base, { recursive: true }));
    const tls = await makeCertificate(['DNS:storage.googleapis.com', 'DNS:oauth2.googleapis.com']);
    await using server = await openGcpStorageServer({ tls });
    await using proxy = await openGcpStorageProxy(server);
    const origin = 'https://oauth2.googleapis.com';
    const key = server.addAccount({ permissions: [...allPermissions, 'storage.buckets.get'], origin });
    const [keyPath, caPath] = [join(base, 'key.json'), join(base, 'ca.pem')];
    await writeFile(keyPath, JSON.stringify(key));
    await writeFile(caPath, tls.cert);
    const env = {
      ...process.env,
      RESTIC_PASSWORD: 'secret',
      GOOGLE_APPLICATION_CREDENTIALS: keyPath,
      HTTPS_PROXY: proxy.origin,
      NO_PROXY: '',
    };
    const call = (repository: string, ...more: string[]) =>
      run(restic, ['--repo', repository, '--no-cache', '--cacert', caPath, ...more], { env });
    const open = (prefix: string) =>
      openGcpStorage(
        gcpStorageOptionsSchema.parse({
          type: 'gcp_storage',
          bucket: server.bucketName,
          prefix,
          proxy: proxy.origin,
          caCertificate: tls.cert,
        }),
        gcpStorageCredentialsSchema.parse({ serviceAccountKey: key }),
        defaultAdapterSettings,
      );

    const file = join(base, 'file');
    await writeFile(file, Buffer.alloc(3_000_000, 'content'));
    await call(join(base, 'made'), 'init');
    await call(join(base, 'made'), 'backup', file);
    const local = await openLocalStorage({ path: join(base, 'made') });
    const ours = await open('ours');
    for await (const { name } of local.list('')) await ours.put(name, await local.get(name));

    const repository = `gs:${server.bucketName}:/ours`;
    await call(repository, 'check', '--read-data');
    await writeFile(file, 'other content');
    await call(repository, 'backup', file);
    await call(repository, 'forget', '--keep-last', '1', '--prune');
    await call(repository, 'check', '--read-data');
    expect((await call(repository, 'dump', 'latest', file)).stdout).toBe('other content');
    await ours.close();

    const theirs = `gs:${server.bucketName}:/theirs`;
    await call(theirs, 'init');
    await call(theirs, 'backup', file);
    const copied = await openLocalStorage({ path: join(base, 'copied') });
    const from = await open('theirs');
    for await (const { name } of from.list('')) await copied.put(name, await from.get(name));
    await call(join(base, 'copied'), 'check', '--read-data');
    expect((await call(join(base, 'copied'), 'dump', 'latest', file)).stdout).toBe('other content');
    await from.close();
    expect(new Set(proxy.asked)).toEqual(new Set(['oauth2.googleapis.com:443', 'storage.googleapis.com:443']));
  });
});
