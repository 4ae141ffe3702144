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
import { startRadosgwServer } from '../testing/radosgw-server.ts';
import { startS3Server } from '../testing/s3-server.ts';
import { openTlsFront } from '../testing/tls-front.ts';
import type { S3Options } from './s3-options.ts';
import { openS3Storage } from './s3-storage.ts';

const run = promisify(execFile);
const newer = process.env['RESTIC_NEWER_BIN'];

/** One server of each kind is started for both versions of restic. */
interface Place {
  readonly storage: Storage;
  readonly repository: string;
}
interface Server extends AsyncDisposable {
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly caCertificatePath?: string;
  newPlace(): Promise<Place>;
}

/** Without TLS restic sends chunks that are signed one by one, which Swift does not take. */
async function startSwift(): Promise<Server> {
  const server = await startS3Server();
  const front = await openTlsFront(server);
  const { region, credentials } = server;
  return {
    region,
    credentials,
    caCertificatePath: front.caCertificatePath,
    async newPlace() {
      const endpoint = `https://127.0.0.1:${front.port}`;
      return open({ endpoint, region, bucket: await server.makeBucket(), caCertificate: front.caCertificate }, credentials);
    },
    async [Symbol.asyncDispose]() {
      await front[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function startCeph(makesLocks: boolean): Promise<Server> {
  const server = await startRadosgwServer();
  const { endpoint, region, credentials } = server;
  return {
    region,
    credentials,
    async newPlace() {
      const bucket = await server.makeBucket({ objectLock: makesLocks });
      const lock = makesLocks ? { objectLock: { mode: 'compliance' as const, days: 1 } } : {};
      return open({ endpoint, region, bucket, ...lock }, credentials);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function open(options: Omit<S3Options, 'type'>, credentials: Server['credentials']): Promise<Place> {
  const storage = await openS3Storage({ type: 's3', prefix: 'shop/a', ...options }, credentials, defaultAdapterSettings);
  // The location is what restic calls the place.
  return { storage, repository: storage.location };
}

const servers = { Swift: startSwift, Ceph: () => startCeph(false), 'Ceph with object locks': () => startCeph(true) };
const programs = ['restic', ...(newer === undefined ? [] : [newer])];
const started = new Map<string, Promise<Server>>();
afterAll(async () => {
  for (const server of started.values()) await (await server)[Symbol.asyncDispose]();
});

describe.each(Object.entries(servers).flatMap(([kind, start]) => programs.map((restic) => ({ kind, start, restic }))))(
  'a bucket of $kind under $restic',
  ({ kind, start, restic }) => {
    let server: Server;
    beforeAll(async () => {
      const starts = started.get(kind) ?? start();
      started.set(kind, starts);
      server = await starts;
    });
    const call = (repository: string, ...more: string[]) => {
      const { accessKeyId, secretAccessKey } = server.credentials;
      const keys = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_DEFAULT_REGION: server.region };
      const env = { ...process.env, ...keys, RESTIC_PASSWORD: 'secret' };
      const trust = server.caCertificatePath === undefined ? [] : ['--cacert', server.caCertificatePath];
      return run(restic, ['--repo', repository, '--no-cache', ...trust, ...more], { env });
    };

    it('takes a repository that was copied there object by object, and works on in it', async () => {
      const base = await scratch();
      const made = join(base, 'made');
      await writeFile(join(base, 'file'), randomBytes(3_000_000));
      await call(made, 'init');
      await call(made, 'backup', join(base, 'file'));
      const from = await openLocalStorage({ path: made });
      const { storage, repository } = await server.newPlace();
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
      const { storage, repository } = await server.newPlace();
      await call(repository, 'init');
      await call(repository, 'backup', join(base, 'file'));

      const path = join(base, 'copied');
      const to = await openLocalStorage({ path });
      for await (const { name } of storage.list('')) await to.put(name, await storage.get(name));
      await call(path, 'check', '--read-data');
      expect((await call(path, 'dump', 'latest', join(base, 'file'))).stdout).toBe('content');
      await storage.close();
    });
  },
);

async function scratch(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-interop-'));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}
