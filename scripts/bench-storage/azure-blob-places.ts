import { openAzureProxy, startAzureBlobServer } from '../../libs/storage/src/testing/azure-blob-server.ts';
import type { PlaceServer } from './storage-place.ts';

/** Beside what it holds. */
const spareMegabytes = 1024;

/**
 * Azurite in memory: one for transfers, and one that restic can reach, which calls an account by its name at Azure only, over TLS. A proxy
 * brings restic there, and us as well.
 */
export async function startAzureBlobPlaces(sizeMb: number): Promise<PlaceServer> {
  await using starting = new AsyncDisposableStack();
  // A repository of each tool.
  const memoryLimitMegabytes = 2 * sizeMb + spareMegabytes;
  const plain = starting.use(await startAzureBlobServer({ persistence: 'memory', memoryLimitMegabytes }));
  const secured = starting.use(await startAzureBlobServer({ persistence: 'memory', memoryLimitMegabytes, isTls: true }));
  const proxy = starting.use(await openAzureProxy(secured));
  const started = starting.move();
  return {
    description: 'Azurite in memory; repositories over TLS and through a proxy',
    transferPort: plain.port,
    async newPlace(use, port) {
      const server = use === 'transfer' ? plain : secured;
      const { account, accountKey, certificate } = server;
      const named = { endpoint: `https://${account}.blob.core.windows.net`, proxy: proxy.url };
      const options = await server.newContainer(use === 'transfer' ? {} : named, port);
      return {
        ours: { options, credentials: { accountKey } },
        rclone: {
          // With an account's key rclone 1.60 knows no server but Azure's own.
          settings: {
            type: 'azureblob',
            sas_url: `${options.endpoint ?? ''}/${options.container}?${server.sasToken(options.container, 'rwdlac')}`,
          },
          path: options.container,
          args: [],
        },
        restic: {
          backend: 'azure',
          repository: `azure:${options.container}:/`,
          args: certificate === undefined ? [] : ['--cacert', certificate.path],
          env: { AZURE_ACCOUNT_NAME: account, AZURE_ACCOUNT_KEY: accountKey, HTTPS_PROXY: proxy.url, NO_PROXY: '' },
        },
      };
    },
    async clear() {
      for (const { program } of [plain, secured]) {
        await program.kill();
        await program.start();
      }
    },
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}
