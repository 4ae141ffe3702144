import { forEachConcurrently } from '../../libs/engine/src/slots.ts';
import { startS3Server } from '../../libs/storage/src/testing/s3-server.ts';
import { openTlsFront } from '../../libs/storage/src/testing/tls-front.ts';
import { openPlace } from './open-place.ts';
import type { OurPlace, PlaceServer } from './storage-place.ts';

const deletesAtOnce = 8;

/** OpenStack Swift. Without TLS restic signs what it sends in pieces, which Swift does not know: repositories are behind TLS, for both. */
export async function startS3Places(): Promise<PlaceServer> {
  await using starting = new AsyncDisposableStack();
  const server = starting.use(await startS3Server());
  const front = starting.use(await openTlsFront(server));
  const started = starting.move();
  const { region } = server;
  // Amazon's client notes things of its own in the object that it is given.
  const { accessKeyId, secretAccessKey } = server.credentials;
  let made: OurPlace[] = [];
  return {
    description: 'OpenStack Swift with s3api; repositories over TLS',
    transferPort: server.port,
    async newPlace(use, port = server.port) {
      const bucket = await server.makeBucket();
      const isTls = use === 'repository';
      const endpoint = isTls ? `https://127.0.0.1:${front.port}` : `http://127.0.0.1:${port}`;
      const trust = isTls ? { caCertificate: front.caCertificate } : {};
      const ours: OurPlace = { options: { type: 's3', endpoint, region, bucket, ...trust }, credentials: { accessKeyId, secretAccessKey } };
      made.push(ours);
      const keys = { access_key_id: accessKeyId, secret_access_key: secretAccessKey };
      return {
        ours,
        rclone: {
          settings: { type: 's3', provider: 'Other', region, endpoint, force_path_style: 'true', ...keys },
          path: bucket,
          args: isTls ? ['--ca-cert', front.caCertificatePath] : [],
        },
        restic: {
          backend: 's3',
          repository: `s3:${endpoint}/${bucket}`,
          args: ['-o', 's3.bucket-lookup=path', '-o', `s3.region=${region}`, ...(isTls ? ['--cacert', front.caCertificatePath] : [])],
          env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
        },
      };
    },
    async clear() {
      for (const place of made) await deleteAll(place);
      made = [];
    },
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}

async function deleteAll(place: OurPlace): Promise<void> {
  const storage = await openPlace(place);
  const objects = await Array.fromAsync(storage.list(''));
  await forEachConcurrently(objects, deletesAtOnce, async ({ name }) => storage.delete(name));
  await storage.close();
}
