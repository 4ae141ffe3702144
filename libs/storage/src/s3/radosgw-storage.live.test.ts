import {
  DeleteObjectCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  PutObjectLockConfigurationCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, assert, beforeAll, describe, expect, it } from 'vitest';
import { isHolding } from '../hold.ts';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { type RadosgwServer, startRadosgwServer } from '../testing/radosgw-server.ts';
import { describeStorageContract } from '../testing/storage-contract.ts';
import type { S3Options } from './s3-options.ts';
import { openS3Storage } from './s3-storage.ts';

const serverStarts: Promise<RadosgwServer> = startRadosgwServer();
let server: RadosgwServer;
beforeAll(async () => {
  server = await serverStarts;
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const open = async (bucket: string, more: Partial<S3Options> = {}, credentials = server.credentials): Promise<Storage> =>
  openS3Storage(
    { type: 's3', endpoint: server.endpoint, region: server.region, bucket, prefix: 'shop/a', ...more },
    credentials,
    defaultAdapterSettings,
  );

describeStorageContract('s3 at Ceph', async () => {
  server = await serverStarts;
  const bucket = await server.makeBucket();
  return { storage: await open(bucket), second: await open(bucket), exclusivePut: 'checked', dispose: async () => undefined };
});

const dayMs = 24 * 60 * 60 * 1000;
const locked = { objectLock: { mode: 'compliance', days: 1 } } as const;
const names = ['config', 'keys/aa', 'index/aa', 'snapshots/aa', 'data/ab/ab'];

describe('a bucket of Ceph with object locks', () => {
  it.each(['compliance', 'governance'] as const)('keeps all but locks and trials from everybody, with %s', async (mode) => {
    const bucket = await server.makeBucket({ objectLock: true });
    const storage = await open(bucket, { objectLock: { mode, days: 1 } });
    const startedAtMs = Date.now();
    for (const name of [...names, 'locks/aa', 'trial/aa']) await storage.put(name, Buffer.from(name));
    assert(isHolding(storage));
    for (const name of names) {
      const freeAt = (await storage.holdOf(name))?.freeAt;
      expect(freeAt?.getTime()).toBeGreaterThan(startedAtMs + dayMs - 2_000);
      expect(freeAt?.getTime()).toBeLessThan(Date.now() + dayMs + 2_000);
      await expect(storage.delete(name)).rejects.toMatchObject({
        code: 'storage_object_held',
        context: { object: name, freeAt: freeAt?.toISOString() },
      });
    }
    for (const name of ['locks/aa', 'trial/aa', 'data/ab/none']) expect(await storage.holdOf(name)).toBeUndefined();
    for (const name of ['locks/aa', 'locks/aa', 'trial/aa', 'data/ab/none']) await storage.delete(name);

    // The server's own word, and nothing left of what could go.
    const versions = await server.versionsIn(bucket);
    expect(new Set(versions.map(({ key }) => key))).toEqual(new Set(names.map((name) => `shop/a/${name}`)));
    expect(versions.filter(({ isMarker }) => isMarker)).toEqual([]);
    for (const { key, id } of versions) {
      const command = new DeleteObjectCommand({ Bucket: bucket, Key: key, VersionId: id });
      await expect(server.client.send(command)).rejects.toMatchObject({ name: 'AccessDenied' });
    }
  });

  it('deletes for good what its lock has let go', async () => {
    const bucket = await server.makeBucket({ objectLock: true });
    const storage = await open(bucket, { objectLock: { mode: 'governance', days: 1 } });
    for (const name of names) await storage.put(name, Buffer.from(name));
    for (const name of names) await expect(storage.delete(name)).rejects.toMatchObject({ code: 'storage_object_held' });
    await server.endLocks(bucket);
    for (const name of names) await storage.delete(name);
    expect(await server.versionsIn(bucket)).toEqual([]);
  });

  it('only hides an object where the options know of no lock, and all who read see it gone', async () => {
    const bucket = await server.makeBucket({ objectLock: true });
    await (await open(bucket, locked)).put('data/ab/ab', Buffer.from('x'));
    const unaware = await open(bucket);
    expect(isHolding(unaware)).toBe(false);
    await unaware.delete('data/ab/ab');
    await expect(unaware.stat('data/ab/ab')).rejects.toMatchObject({ code: 'storage_object_missing' });
    const versions = await server.versionsIn(bucket);
    const [marker, ...more] = versions.filter(({ isMarker }) => isMarker);
    expect([more, versions.length > 1]).toEqual([[], true]);
    // What was hidden comes back when the marker goes.
    await server.client.send(new DeleteObjectCommand({ Bucket: bucket, Key: marker?.key, VersionId: marker?.id }));
    expect(Buffer.from(await unaware.get('data/ab/ab')).toString()).toBe('x');
  });

  it.each(['compliance', 'governance'] as const)('is locked anew when less than half of its days is left, with %s', async (mode) => {
    const bucket = await server.makeBucket({ objectLock: true });
    const objectLock = { mode, days: 10, renew: true } as const;
    const written = await open(bucket, { objectLock });
    await written.put('data/ab/ab', Buffer.from('x'));
    await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'shop/a/data/ab/old', Body: 'from before there were locks' }));
    const freeAtMs = async (storage: Storage, name: string): Promise<number> => {
      assert(isHolding(storage));
      return (await storage.holdOf(name))?.freeAt?.getTime() ?? 0;
    };
    const renew = async (storage: Storage, name: string): Promise<boolean | undefined> => {
      assert(isHolding(storage));
      return storage.renewHold?.(name);
    };
    const first = await freeAtMs(written, 'data/ab/ab');
    expect(await renew(written, 'data/ab/ab')).toBe(false);
    expect(await freeAtMs(written, 'data/ab/ab')).toBe(first);
    expect(await renew(written, 'data/ab/old')).toBe(true);
    expect(await freeAtMs(written, 'data/ab/old')).toBeGreaterThanOrEqual(first);

    // As in six days.
    const later = await openS3Storage(
      { type: 's3', endpoint: server.endpoint, region: server.region, bucket, prefix: 'shop/a', objectLock },
      server.credentials,
      defaultAdapterSettings,
      { now: () => new Date(Date.now() + 6 * dayMs) },
    );
    expect(await renew(later, 'data/ab/ab')).toBe(true);
    expect(await renew(later, 'data/ab/ab')).toBe(false);
    expect(await freeAtMs(later, 'data/ab/ab')).toBeGreaterThanOrEqual(first + 6 * dayMs);
    await expect(written.delete('data/ab/ab')).rejects.toMatchObject({ code: 'storage_object_held' });
    await expect(renew(written, 'data/ab/none')).rejects.toMatchObject({ code: 'storage_object_missing' });
    const unasked = await open(bucket, locked);
    expect(await renew(unasked, 'data/ab/ab')).toBeUndefined();
  });

  it('tells of a legal hold that nobody knows its end', async () => {
    const bucket = await server.makeBucket({ objectLock: true });
    const Key = 'shop/a/data/ab/ab';
    await server.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'x' }));
    const hold = async (Status: 'ON' | 'OFF'): Promise<void> =>
      void (await server.client.send(new PutObjectLegalHoldCommand({ Bucket: bucket, Key, LegalHold: { Status } })));
    await hold('ON');
    const later = await open(bucket, locked);
    assert(isHolding(later));
    expect(await later.holdOf('data/ab/ab')).toEqual({ freeAt: null });
    await expect(later.delete('data/ab/ab')).rejects.toMatchObject({ code: 'storage_object_held', context: { freeAt: null } });
    await hold('OFF');
    await later.delete('data/ab/ab');
    expect(await server.versionsIn(bucket)).toEqual([]);
  });

  it('deletes all that would come to light of an object that was put twice', async () => {
    const bucket = await server.makeBucket({ objectLock: true });
    for (const Body of ['first', 'second'])
      await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'shop/a/locks/aa', Body }));
    await (await open(bucket, locked)).delete('locks/aa');
    expect(await server.versionsIn(bucket)).toEqual([]);
  });

  it('is asked for in vain of a bucket without locks', async () => {
    const bucket = await server.makeBucket();
    const storage = await open(bucket, locked);
    await expect(storage.put('data/ab/ab', Buffer.from('x'))).rejects.toMatchObject({ code: 'storage_denied' });
    expect(await server.versionsIn(bucket)).toEqual([]);
    await storage.put('locks/aa', Buffer.from('x'));
  });
});

/** As docs/storages/s3.md gives them. */
const appendOnlyRights = {
  '': ['s3:ListBucket', 's3:GetBucketLocation'],
  'shop/a/*': ['s3:GetObject', 's3:PutObject', 's3:PutObjectRetention', 's3:GetObjectRetention'],
  'shop/a/locks/*': ['s3:DeleteObject', 's3:DeleteObjectVersion'],
};

describe('credentials that may add and not delete', () => {
  it.each([true, false])('write, read and list, and remove locks (object locks: %s)', async (objectLock) => {
    const bucket = await server.makeBucket({ objectLock });
    await server.allowGuest(bucket, appendOnlyRights);
    const storage = await open(bucket, objectLock ? locked : {}, server.guestCredentials);
    for (const name of [...names, 'locks/aa']) await storage.put(name, Buffer.from(name));
    expect(await Array.fromAsync(storage.list(''))).toHaveLength(names.length + 1);
    expect(Buffer.from(await storage.get('config')).toString()).toBe('config');
    await expect(storage.put('config', Buffer.from('x'))).rejects.toMatchObject({ code: 'storage_object_exists' });
    await storage.delete('locks/aa');
    await expect(storage.stat('locks/aa')).rejects.toMatchObject({ code: 'storage_object_missing' });
    const code = objectLock ? 'storage_object_held' : 'storage_denied';
    for (const name of names) await expect(storage.delete(name)).rejects.toMatchObject({ code });
    // Not by a version either, and not for an object whose lock would have ended.
    const own = new S3Client({
      endpoint: server.endpoint,
      region: server.region,
      credentials: { ...server.guestCredentials },
      forcePathStyle: true,
    });
    for (const { key, id } of await server.versionsIn(bucket)) {
      for (const VersionId of [undefined, id]) {
        await expect(own.send(new DeleteObjectCommand({ Bucket: bucket, Key: key, VersionId }))).rejects.toMatchObject({
          name: 'AccessDenied',
        });
      }
    }
    own.destroy();
    expect(await Array.fromAsync(storage.list(''))).toHaveLength(names.length);
  });
});

describe('a bucket of Ceph', () => {
  it('that is full says so, and takes more when something went', async () => {
    const bucket = await server.makeBucket();
    await server.limitBucket(bucket, 1024 * 1024);
    const storage = await open(bucket);
    await storage.put('data/ab/first', Buffer.alloc(900_000));
    await expect(storage.put('data/ab/second', Buffer.alloc(900_000))).rejects.toMatchObject({ code: 'storage_full' });
    await expect(storage.stat('data/ab/second')).rejects.toMatchObject({ code: 'storage_object_missing' });
    expect((await storage.get('data/ab/first')).byteLength).toBe(900_000);
    await storage.delete('data/ab/first');
    await storage.put('data/ab/second', Buffer.alloc(900_000));
  });

  it('that locks every object by itself takes ours', async () => {
    const bucket = await server.makeBucket({ objectLock: true });
    const DefaultRetention = { Mode: 'GOVERNANCE', Days: 1 } as const;
    const ObjectLockConfiguration = { ObjectLockEnabled: 'Enabled', Rule: { DefaultRetention } } as const;
    await server.client.send(new PutObjectLockConfigurationCommand({ Bucket: bucket, ObjectLockConfiguration }));
    const storage = await open(bucket);
    await storage.put('data/ab/ab', Buffer.from('x'));
    const [version] = await server.versionsIn(bucket);
    const command = new DeleteObjectCommand({ Bucket: bucket, Key: version?.key, VersionId: version?.id });
    await expect(server.client.send(command)).rejects.toMatchObject({ name: 'AccessDenied' });
  });
});
