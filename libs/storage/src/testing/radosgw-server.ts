import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  CreateBucketCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutBucketPolicyCommand,
  PutObjectRetentionCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { errnoCode } from '@holdfast/errors/errno-code';
import { connects, freePort, startServerProgram } from './server-program.ts';

/**
 * A real S3 server that holds object locks: Ceph's RADOS gateway of Debian, on a cluster of one monitor and one store that keeps all in
 * memory (some 150 MB together; it is up within 15 seconds). Versions, locks (compliance, governance, legal hold) and bucket policies are
 * the gateway's own. Ports, settings, keys and data are this one's own.
 */
export interface RadosgwServer extends AsyncDisposable {
  /** Plain http, paths with the bucket in them. */
  readonly endpoint: string;
  readonly port: number;
  readonly region: string;
  /** Owns all buckets. */
  readonly credentials: S3Keys;
  /** Another user, with the rights that a bucket's policy gives and no other. */
  readonly guestCredentials: S3Keys;
  /** Signs as the owner; for what an adapter does not do. */
  readonly client: S3Client;
  /** Makes a bucket with a name of its own. One with locks has versions. */
  makeBucket(options?: { readonly objectLock?: boolean }): Promise<string>;
  /** What the guest may do in a bucket: actions by what they are on, such as `{ '': ['s3:ListBucket'], '*': ['s3:GetObject'] }`. */
  allowGuest(bucket: string, actions: Readonly<Record<string, readonly string[]>>): Promise<void>;
  /** What it may hold, from soon on: the server looks at a quota again after some seconds. */
  limitBucket(bucket: string, maxBytes: number): Promise<void>;
  /** Every version in a bucket, markers of deletes among them. A test's buckets have fewer than a thousand. */
  versionsIn(bucket: string): Promise<readonly S3Version[]>;
  /** Has all locks in a bucket that are of governance end within a second, as the owner may; resolves when they have. */
  endLocks(bucket: string): Promise<void>;
  /** SIGKILL for the gateway; the store behind it goes on. */
  kill(): Promise<void>;
  /** After a kill, with the same data at the same port. */
  start(): Promise<void>;
}

export interface S3Version {
  readonly key: string;
  readonly id: string;
  readonly isMarker: boolean;
}

export interface S3Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

const run = promisify(execFile);
const region = 'us-east-1';
const credentials = { accessKeyId: 'OWNERKEY', secretAccessKey: 'owner-secret-key' };
const guestCredentials = { accessKeyId: 'GUESTKEY', secretAccessKey: 'guest-secret-key' };
const packages = 'radosgw ceph-mon ceph-osd';
const stepLimitMs = 60_000;
/** A lock has to end in the future, and dates of S3 have seconds. */
const shortestLockMs = 2_000;

export async function startRadosgwServer(): Promise<RadosgwServer> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-radosgw-'));
  await using started = new AsyncDisposableStack();
  started.defer(() => rm(folder, { recursive: true, force: true }));
  const settings = join(folder, 'ceph.conf');
  const call = async (program: string, ...args: string[]): Promise<void> => {
    try {
      await run(program, ['--conf', settings, ...args], { timeout: stepLimitMs });
    } catch (error) {
      if (errnoCode(error) !== 'ENOENT') throw error;
      throw new Error(`${program} is not here; on Debian: apt-get install --no-install-recommends ${packages}`, { cause: error });
    }
  };
  const [monitorPort, port] = [await freePort(), await freePort()];
  const clusterId = randomUUID();
  await writeSettings(folder, settings, { clusterId, monitorPort, port });

  const keys = join(folder, 'keyring');
  await run('ceph-authtool', ['--create-keyring', keys, '--gen-key', '--name', 'mon.', '--cap', 'mon', 'allow *']);
  for (const name of ['client.admin', 'osd.0']) {
    const caps = ['--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *'];
    await run('ceph-authtool', [keys, '--gen-key', '--name', name, ...caps]);
  }
  const map = join(folder, 'monmap');
  await run('monmaptool', ['--create', '--fsid', clusterId, '--addv', 'a', `[v2:127.0.0.1:${monitorPort}]`, map]);
  await call('ceph-mon', '--mkfs', '--id', 'a', '--monmap', map, '--keyring', keys);
  started.use(
    await startServerProgram({
      program: 'ceph-mon',
      args: ['--conf', settings, '--foreground', '--id', 'a'],
      answers: () => connects(monitorPort),
    }),
  );
  const storeId = randomUUID();
  await call('ceph', 'osd', 'new', storeId);
  await call('ceph-osd', '--mkfs', '--id', '0', '--osd-uuid', storeId);
  started.use(
    await startServerProgram({
      program: 'ceph-osd',
      args: ['--conf', settings, '--foreground', '--id', '0'],
      answers: async () => {
        const { stdout } = await run('ceph', ['--conf', settings, 'osd', 'stat'], { timeout: stepLimitMs });
        if (!stdout.includes('1 up')) throw new Error(stdout);
      },
    }),
  );
  const endpoint = `http://127.0.0.1:${port}`;
  const gateway = started.use(
    await startServerProgram({
      program: 'radosgw',
      args: ['--conf', settings, '--foreground', '--name', 'client.admin', '--rgw-zone', 'default'],
      answers: async () => void (await fetch(endpoint)),
    }),
  );
  for (const [user, { accessKeyId, secretAccessKey }] of Object.entries({ owner: credentials, guest: guestCredentials })) {
    const made = ['user', 'create', '--uid', user, '--display-name', user, '--access-key', accessKeyId, '--secret-key', secretAccessKey];
    await call('radosgw-admin', ...made);
  }
  // The client writes into what it is given.
  const client = new S3Client({ endpoint, region, credentials: { ...credentials }, forcePathStyle: true });
  started.defer(() => client.destroy());
  const everything = started.move();
  let bucketCount = 0;
  return {
    endpoint,
    port,
    region,
    credentials,
    guestCredentials,
    client,
    async makeBucket({ objectLock = false } = {}) {
      bucketCount += 1;
      const bucket = `bucket-${bucketCount}`;
      await client.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: objectLock }));
      return bucket;
    },
    async allowGuest(bucket, actions) {
      const Statement = Object.entries(actions).map(([what, Action]) => ({
        Effect: 'Allow',
        Principal: { AWS: ['arn:aws:iam:::user/guest'] },
        Action,
        Resource: [`arn:aws:s3:::${bucket}${what === '' ? '' : `/${what}`}`],
      }));
      const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
      await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }));
    },
    async limitBucket(bucket, maxBytes) {
      const quota = ['--quota-scope', 'bucket', '--bucket', bucket];
      await call('radosgw-admin', 'quota', 'set', ...quota, '--max-size', String(maxBytes));
      await call('radosgw-admin', 'quota', 'enable', ...quota);
    },
    versionsIn: (bucket) => versionsIn(client, bucket),
    async endLocks(bucket) {
      const RetainUntilDate = new Date(Date.now() + shortestLockMs);
      for (const { key: Key, id: VersionId, isMarker } of await versionsIn(client, bucket)) {
        if (isMarker) continue;
        const object = { Bucket: bucket, Key, VersionId };
        const { ObjectLockMode: mode } = await client.send(new HeadObjectCommand(object));
        if (mode === undefined) continue;
        const Retention = { Mode: 'GOVERNANCE', RetainUntilDate } as const;
        await client.send(new PutObjectRetentionCommand({ ...object, Retention, BypassGovernanceRetention: true }));
      }
      await sleep(RetainUntilDate.getTime() - Date.now() + shortestLockMs);
    },
    kill: () => gateway.kill(),
    start: () => gateway.start(),
    [Symbol.asyncDispose]: () => everything.disposeAsync(),
  };
}

async function versionsIn(client: S3Client, bucket: string): Promise<S3Version[]> {
  const { Versions = [], DeleteMarkers = [], IsTruncated } = await client.send(new ListObjectVersionsCommand({ Bucket: bucket }));
  if (IsTruncated === true) throw new Error(`${bucket} has more than a thousand versions`);
  const told = (all: readonly { Key?: string | undefined; VersionId?: string | undefined }[], isMarker: boolean): S3Version[] =>
    all.map(({ Key: key = '', VersionId: id = '' }) => ({ key, id, isMarker }));
  return [...told(Versions, false), ...told(DeleteMarkers, true)];
}

interface Ports {
  readonly clusterId: string;
  readonly monitorPort: number;
  readonly port: number;
}

async function writeSettings(folder: string, path: string, { clusterId, monitorPort, port }: Ports): Promise<void> {
  for (const name of ['monitor', 'store']) await mkdir(join(folder, name));
  const lines = {
    fsid: clusterId,
    'mon host': `v2:127.0.0.1:${monitorPort}`,
    keyring: join(folder, 'keyring'),
    'auth cluster required': 'cephx',
    'auth service required': 'cephx',
    'auth client required': 'cephx',
    'public addr': '127.0.0.1',
    'cluster addr': '127.0.0.1',
    'mon data': join(folder, 'monitor'),
    // A monitor stops on a disk that is nearly full, and this one needs none.
    'mon data avail crit': 0,
    'osd data': join(folder, 'store'),
    'osd objectstore': 'memstore',
    'memstore device bytes': 4 * 1024 ** 3,
    // One of everything.
    'osd pool default size': 1,
    'osd pool default min size': 1,
    'osd pool default pg num': 1,
    'osd pool default pgp num': 1,
    'osd pool default pg autoscale mode': 'off',
    'mon allow pool size one': true,
    'osd crush chooseleaf type': 0,
    'mon max pg per osd': 1000,
    'run dir': folder,
    'admin socket': '',
    'log file': '',
    'log to stderr': true,
    'rgw frontends': `beast endpoint=127.0.0.1:${port}`,
    'rgw enable usage log': false,
    // Room for what many calls at once need.
    'rgw thread pool size': 64,
  };
  const text = Object.entries(lines).map(([name, value]) => `${name} = ${String(value)}\n`);
  await writeFile(path, `[global]\n${text.join('')}`);
}
