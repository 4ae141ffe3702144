import { randomBytes } from 'node:crypto';
import type { RemoteStorageOptions } from '../storage-options.ts';
import { parseStorageOptions } from '../storage-options.ts';
import { startAzureBlobServer } from './azure-blob-server.ts';
import { startFtpServer } from './ftp-server.ts';
import { openGcpStorageServer } from './gcp-storage-server.ts';
import { startS3Server } from './s3-server.ts';
import { startSftpServer } from './sftp-server.ts';

/** A server of each kind with an empty place for one repository, for tests of everything above the adapters. */
export interface RemotePlace extends AsyncDisposable {
  readonly kind: RemoteStorageOptions['type'];
  /** Of 127.0.0.1. */
  readonly port: number;
  /** As a config says them; by another port (a faulty line's) when one is given. */
  options(port?: number): RemoteStorageOptions;
  /** For options with the same port. */
  credentials(port?: number): object;
  /** Well-formed, and refused by the server. */
  readonly wrongCredentials: object;
  /** SIGKILL, or what comes closest to it. */
  kill(): Promise<void>;
  /** After a kill: with the same data at the same port. */
  start(): Promise<void>;
}

export const remoteKinds = ['s3', 'azure_blob', 'gcp_storage', 'ftp', 'sftp'] as const satisfies RemoteStorageOptions['type'][];

/** `isKilled`: that the server keeps its data over a kill, where it has to be told before. */
export async function startRemotePlace(
  kind: RemoteStorageOptions['type'],
  { isKilled = false }: { readonly isKilled?: boolean } = {},
): Promise<RemotePlace> {
  switch (kind) {
    case 's3':
      return s3Place();
    case 'azure_blob':
      return azurePlace(isKilled);
    case 'gcp_storage':
      return gcpPlace();
    case 'ftp':
      return ftpPlace();
    case 'sftp':
    default:
      return sftpPlace();
  }
}

const prefix = 'shop/nightly';

async function s3Place(): Promise<RemotePlace> {
  const server = await startS3Server();
  const bucket = await server.makeBucket();
  const { region } = server;
  const { accessKeyId, secretAccessKey } = server.credentials;
  return place('s3', server, {
    options: (port) => ({ type: 's3', endpoint: `http://127.0.0.1:${port}`, region, bucket, prefix }),
    credentials: () => ({ accessKeyId, secretAccessKey }),
    wrongCredentials: { accessKeyId, secretAccessKey: 'another' },
    kill: () => server.kill(),
    start: () => server.start(),
  });
}

async function azurePlace(isKilled: boolean): Promise<RemotePlace> {
  const server = await startAzureBlobServer({ persistence: isKilled ? 'files' : 'memory' });
  const { account, container } = await server.newContainer();
  return place('azure_blob', server, {
    options: (port) => ({ type: 'azure_blob', endpoint: `http://127.0.0.1:${port}/${account}`, account, container, prefix }),
    credentials: () => ({ accountKey: server.accountKey }),
    wrongCredentials: { accountKey: randomBytes(64).toString('base64') },
    // It writes what it knows to the disk now and then: a SIGKILL would lose what it had promised.
    kill: async () => server.program[Symbol.asyncDispose](),
    start: () => server.program.start(),
  });
}

async function gcpPlace(): Promise<RemotePlace> {
  const server = await openGcpStorageServer();
  const stranger = server.addAccount({ permissions: [] });
  return place('gcp_storage', server, {
    options: (port) => ({ type: 'gcp_storage', endpoint: `http://127.0.0.1:${port}`, bucket: server.bucketName, prefix }),
    // Tokens come from where the storage is.
    credentials: (port) => ({ serviceAccountKey: server.addAccount({ origin: `http://127.0.0.1:${port}` }) }),
    wrongCredentials: { serviceAccountKey: stranger },
    kill: () => server.kill(),
    start: () => server.start(),
  });
}

async function ftpPlace(): Promise<RemotePlace> {
  const server = await startFtpServer({ program: 'pure-ftpd' });
  return place('ftp', server, {
    options: (port) => server.options({ port }),
    credentials: () => server.credentials,
    wrongCredentials: { password: 'another' },
    kill: () => server.kill(),
    start: () => server.program.start(),
  });
}

async function sftpPlace(): Promise<RemotePlace> {
  const server = await startSftpServer();
  return place('sftp', server, {
    options: (port) => server.options({ port }),
    credentials: () => server.credentials,
    wrongCredentials: { password: 'another' },
    kill: () => server.kill(),
    start: () => server.start(),
  });
}

function place(
  kind: RemoteStorageOptions['type'],
  server: AsyncDisposable & { readonly port: number },
  of: Omit<RemotePlace, 'kind' | 'port' | 'options' | 'credentials' | typeof Symbol.asyncDispose> & {
    readonly options: (port: number) => object;
    readonly credentials: (port: number) => object;
  },
): RemotePlace {
  return {
    ...of,
    kind,
    port: server.port,
    credentials: (port = server.port) => of.credentials(port),
    // As a config's would be: through the same schema.
    options: (port = server.port) => {
      const parsed = parseStorageOptions(of.options(port));
      if (parsed.type === 'local') throw new Error('not a place at a server');
      return parsed;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
