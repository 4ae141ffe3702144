import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import {
  type ContainerClient,
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
import { errnoCode } from '@holdfast/errors/errno-code';
import { azureContainerClient } from '../azure-blob/azure-blob-client.ts';
import type { AzureBlobOptions } from '../azure-blob/azure-blob-options.ts';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import { openHttpAgents } from '../remote/http-agents.ts';
import { connects, freePort, type ServerProgram, startServerProgram } from './server-program.ts';

const run = promisify(execFile);
const require = createRequire(import.meta.url);

/** Azurite, Microsoft's emulator of the service, with an account of its own. */
export interface AzureBlobServer extends AsyncDisposable {
  readonly program: ServerProgram;
  readonly port: number;
  readonly account: string;
  readonly accountKey: string;
  /** Of a server with TLS, for 127.0.0.1 and the account's name at Azure: PEM, and the file that holds it. */
  readonly certificate: { readonly pem: string; readonly path: string; readonly keyPath: string } | undefined;
  /** Where a server with files keeps them. */
  readonly folder: string;
  /** Makes an empty container; the options reach it by another port (a faulty line's) when one is given. */
  newContainer(more?: Partial<AzureBlobOptions>, port?: number): Promise<AzureBlobOptions>;
  /** The test's own way into a container that newContainer made. */
  client(options: AzureBlobOptions): ContainerClient;
  sasToken(container: string, rights: string, expiresOn?: Date): string;
}

export interface AzureBlobServerOptions {
  /**
   * 'memory' where connections are cut: with files, an upload that is cut is now and then written into another's file. 'files' where the
   * server is killed and started again.
   */
  readonly persistence: 'memory' | 'files';
  readonly isTls?: boolean;
  /** Takes tokens of Entra ID too, and looks at their issuer, audience and times; with TLS only. */
  readonly takesTokens?: boolean;
  /** Of a server in memory. */
  readonly memoryLimitMegabytes?: number;
}

const defaultMemoryLimitMegabytes = 1024;
const sasVersion = '2022-11-02';
const sasLifetimeMs = 60 * 60 * 1000;

export async function startAzureBlobServer(options: AzureBlobServerOptions): Promise<AzureBlobServer> {
  const { persistence, isTls = false, takesTokens = false, memoryLimitMegabytes = defaultMemoryLimitMegabytes } = options;
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-azurite-'));
  const account = 'holdfasttests';
  const accountKey = randomBytes(64).toString('base64');
  const port = await freePort();
  const certificate = isTls ? await makeCertificate(folder, account) : undefined;
  const kept =
    persistence === 'files'
      ? ['--location', join(folder, 'data')]
      : ['--inMemoryPersistence', '--extentMemoryLimit', String(memoryLimitMegabytes)];
  const tls = certificate === undefined ? [] : ['--cert', certificate.path, '--key', certificate.keyPath];
  const flags = ['--blobHost', '127.0.0.1', '--blobPort', String(port), '--silent', '--disableTelemetry', '--skipApiVersionCheck'];
  const tokens = takesTokens ? ['--oauth', 'basic'] : [];
  const program = await startServerProgram({
    program: process.execPath,
    args: [require.resolve('azurite/dist/src/blob/main.js'), ...flags, ...kept, ...tls, ...tokens],
    env: { ...process.env, AZURITE_ACCOUNTS: `${account}:${accountKey}` },
    answers: () => connects(port),
  });

  const agents = openHttpAgents({ ...defaultAdapterSettings, caCertificate: certificate?.pem });
  const client = (place: AzureBlobOptions): ContainerClient =>
    azureContainerClient({ ...place, endpoint: endpointAt(port) }, { accountKey }, agents);
  const endpointAt = (at: number): string => `${isTls ? 'https' : 'http'}://127.0.0.1:${String(at)}/${account}`;
  return {
    program,
    port,
    account,
    accountKey,
    certificate,
    folder,
    async newContainer(more = {}, at = port) {
      const trust = certificate === undefined ? {} : { caCertificate: certificate.pem };
      const place = { type: 'azure_blob', endpoint: endpointAt(at), account, container: randomUUID(), ...trust, ...more } as const;
      await client(place).create();
      return place;
    },
    client,
    sasToken: (containerName, rights, expiresOn = new Date(Date.now() + sasLifetimeMs)) =>
      generateBlobSASQueryParameters(
        { containerName, permissions: ContainerSASPermissions.parse(rights), expiresOn, version: sasVersion },
        new StorageSharedKeyCredential(account, accountKey),
      ).toString(),
    async [Symbol.asyncDispose]() {
      agents.close();
      await program[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A proxy that knows CONNECT, and brings whoever asks for the account at Azure to a server of ours. */
export async function openAzureProxy(
  server: AzureBlobServer,
): Promise<{ readonly url: string; readonly requests: string[] } & AsyncDisposable> {
  const requests: string[] = [];
  const sockets = new Set<Duplex>();
  const proxy = createServer((_request, response) => response.writeHead(405).end());
  proxy.on('connect', (request, socket) => {
    requests.push(request.url ?? '');
    if (request.url !== `${server.account}.blob.core.windows.net:443`) {
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      return;
    }
    const target = connect(server.port, '127.0.0.1', () => socket.write('HTTP/1.1 200 Connection established\r\n\r\n'));
    socket.pipe(target).pipe(socket);
    for (const [side, other] of [
      [socket, target],
      [target, socket],
    ] as const) {
      sockets.add(side);
      side.on('error', () => other.destroy());
      side.on('close', () => other.destroy());
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const address = proxy.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    url: `http://127.0.0.1:${String(address.port)}`,
    requests,
    async [Symbol.asyncDispose]() {
      proxy.close();
      for (const socket of sockets) socket.destroy();
      proxy.closeAllConnections();
      await once(proxy, 'close');
    },
  };
}

async function makeCertificate(folder: string, account: string): Promise<{ pem: string; path: string; keyPath: string }> {
  const [path, keyPath] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  const names = `subjectAltName=IP:127.0.0.1,DNS:${account}.blob.core.windows.net`;
  const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=azurite', '-addext', names];
  try {
    await run('openssl', [...args, '-out', path, '-keyout', keyPath]);
  } catch (error) {
    if (errnoCode(error) !== 'ENOENT') throw error;
    throw new Error('openssl is missing: install the Debian package openssl', { cause: error });
  }
  return { pem: await readFile(path, 'utf8'), path, keyPath };
}
