import { afterAll, beforeAll } from 'vitest';
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
