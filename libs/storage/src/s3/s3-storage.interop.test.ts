import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openLocalStorage } from '../local/local-storage.ts';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { type S3Server, startS3Server } from '../testing/s3-server.ts';
import { openTlsFront, type TlsFront } from '../testing/tls-front.ts';
import { openS3Storage } from './s3-storage.ts';

const run = promisify(execFile);
const newer = process.env['RESTIC_NEWER_BIN'];

let server: S3Server;
/** Without TLS restic sends chunks that are signed one by one, which Swift does not take. */
let front: TlsFront;
beforeAll(async () => {
  server = await startS3Server();
  front = await openTlsFront(server);
});
afterAll(async () => {
  await front[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

describe.each(['restic', ...(newer === undefined ? [] : [newer])])('a bucket under %s', (restic) => {
  const call = (repository: string, ...more: string[]) => {
    const { accessKeyId, secretAccessKey } = server.credentials;
    const keys = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_DEFAULT_REGION: server.region };
    const env = { ...process.env, ...keys, RESTIC_PASSWORD: 'secret' };
    return run(restic, ['--repo', repository, '--no-cache', '--cacert', front.caCertificatePath, ...more], { env });
  };
  const place = async (bucket: string): Promise<{ storage: Storage; repository: string }> => {
    const endpoint = `https://127.0.0.1:${front.port}`;
    const options = { type: 's3' as const, endpoint, region: server.region, bucket, prefix: 'shop/a', caCertificate: front.caCertificate };
    const storage = await openS3Storage(options, server.credentials, defaultAdapterSettings);
    // The location is what restic calls the place.
    return { storage, repository: storage.location };
  };

  it('takes a repository that was copied there object by object, and works on in it', async () => {
    const base = await scratch();
    const made = join(base, 'made');
    await writeFile(join(base, 'file'), randomBytes(3_000_000));
    await call(made, 'init');
    await call(made, 'backup', join(base, 'file'));
    const from = await openLocalStorage({ path: made });
    const { storage, repository } = await place(await server.makeBucket());
    for await (const { name } of from.list('')) await storage.put(name, await from.get(name));

    await call(repository, 'check', '--read-data');
    await writeFile(join(base, 'file'), 'other content');
    await call(repository, 'backup', join(base, 'file'));
    await call(repository, 'forget', '--keep-last', '1', '--prune');
    await call(repository, 'check', '--read-data');
    expect((await call(repository, 'dump', 'latest', join(base, 'file'))).stdout).toBe('other content');
    await storage.close();
  });

  it('makes a repository that is read here object by object', async () => {
    const base = await scratch();
    await writeFile(join(base, 'file'), 'content');
    const { storage, repository } = await place(await server.makeBucket());
    await call(repository, 'init');
    await call(repository, 'backup', join(base, 'file'));

    const path = join(base, 'copied');
    const to = await openLocalStorage({ path });
    for await (const { name } of storage.list('')) await to.put(name, await storage.get(name));
    await call(path, 'check', '--read-data');
    expect((await call(path, 'dump', 'latest', join(base, 'file'))).stdout).toBe('content');
    await storage.close();
  });
});

async function scratch(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-interop-'));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}
