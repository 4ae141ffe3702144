import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { GcpAccounts, type GcpAccount, type GcpPermission, type TestServiceAccountKey } from './gcp-storage-accounts.ts';
import { GcpBucket } from './gcp-storage-bucket.ts';
import { fieldsOf, parseMultipart, pickFields, rangeOf, Refusal } from './gcp-storage-wire.ts';

/**
 * A stand-in for Google Cloud Storage, because no real server of it can be had for a test: Google's testbench for its clients is in no
 * registry, and neither it nor what others offer checks credentials. It is written after Google's description of the JSON API
 * (cloud.google.com/storage/docs/json_api/v1), of its errors, and of tokens for service accounts, not after any client, and it refuses
 * what is not described there: paths, parameters and fields that it does not know, requests without a good token or the right for what
 * they ask, uploads whose checksum differs. Where Google says nothing it takes the stricter reading. Stock restic, which uses Google's
 * client for Go, works with it: gcp-storage-storage.interop.test.ts.
 *
 * It keeps its objects in memory, over `kill` and `start` too; an upload that a kill cuts short is not among them.
 */
export interface GcpStorageServer extends AsyncDisposable {
  readonly endpoint: string;
  readonly port: number;
  readonly bucketName: string;
  readonly bucket: GcpBucket;
  /**
   * A new account with these rights at the bucket, all that an adapter needs when not given; its tokens come from `origin`, for a server
   * that is reached by a line, or from the server's own.
   */
  addAccount(account?: { readonly permissions?: readonly GcpPermission[]; readonly origin?: string }): TestServiceAccountKey;
  /** A token of that account, as its key would get it. */
  issueToken(key: TestServiceAccountKey): string;
  /** As if their hour were over. */
  expireTokens(): void;
  /** The next so many calls of the API are refused so. */
  refuseNext(count: number, status: number, reason: string, message: string): void;
  /** Flips a bit of the next so many uploads, or of the objects that are read next, on the way. */
  damageNext(count: number, direction: 'upload' | 'download'): void;
  /** Answers come so much later. */
  setAnswerDelayMs(delayMs: number): void;
  /** Tokens that were asked for and given. */
  readonly grantedTokenCount: number;
  /** The most connections that were open at once. */
  readonly mostConnections: number;
  /** Ends all connections at once. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

export interface GcpStorageServerOptions {
  /** PEM, for https. */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** Seconds that a token is good for. */
  readonly tokenLifeS?: number;
}

const maxUploadBytes = 200 * 1024 * 1024;
export const testBucketName = 'holdfast-test';

interface State {
  readonly accounts: GcpAccounts;
  readonly bucket: GcpBucket;
  readonly refusals: Refusal[];
  readonly damages: { upload: number; download: number };
  answerDelayMs: number;
}

interface Call {
  readonly state: State;
  readonly request: IncomingMessage;
  readonly url: URL;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: Buffer | object;
}

export async function openGcpStorageServer({ tls, tokenLifeS = 3600 }: GcpStorageServerOptions = {}): Promise<GcpStorageServer> {
  const state: State = {
    accounts: new GcpAccounts(tokenLifeS),
    bucket: new GcpBucket(testBucketName),
    refusals: [],
    damages: { upload: 0, download: 0 },
    answerDelayMs: 0,
  };
  let server: Server | undefined;
  let port = 0;
  let openConnections = 0;
  let mostConnections = 0;
  const start = async (): Promise<void> => {
    const started = tls === undefined ? createHttpServer(serve(state)) : createHttpsServer(tls, serve(state));
    server = started.listen(port, '127.0.0.1');
    started.on('connection', (socket) => {
      openConnections += 1;
      mostConnections = Math.max(mostConnections, openConnections);
      socket.on('close', () => (openConnections -= 1));
    });
    await once(started, 'listening');
    const address = started.address();
    if (address === null || typeof address === 'string') throw new Error('the server has no port');
    port = address.port;
  };
  const kill = async (): Promise<void> => {
    if (server?.listening !== true) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  await start();
  const endpoint = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${String(port)}`;
  return {
    endpoint,
    port,
    bucketName: testBucketName,
    bucket: state.bucket,
    addAccount: ({ permissions, origin = endpoint } = {}) => state.accounts.add(`${origin}/token`, permissions),
    issueToken: (key) => state.accounts.issueToken(key),
    expireTokens: () => state.accounts.expireTokens(),
    refuseNext(count, status, reason, message) {
      for (let index = 0; index < count; index += 1) state.refusals.push(new Refusal(status, reason, message));
    },
    damageNext: (count, direction) => void (state.damages[direction] += count),
    setAnswerDelayMs: (delayMs) => void (state.answerDelayMs = delayMs),
    get grantedTokenCount() {
      return state.accounts.grantedTokenCount;
    },
    get mostConnections() {
      return mostConnections;
    },
    kill,
    start,
    [Symbol.asyncDispose]: kill,
  };
}

function serve(state: State): RequestListener {
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const answer = await answerTo({ state, request, url: new URL(request.url ?? '/', 'http://server') });
      if (state.answerDelayMs > 0) await sleep(state.answerDelayMs);
      send(request, response, answer);
    } catch (error) {
      if (error instanceof Refusal) send(request, response, error.asAnswer());
      else response.destroy();
    }
  };
  return (request, response) => void respond(request, response);
}

function send(request: IncomingMessage, response: ServerResponse, { status, headers = {}, body = Buffer.alloc(0) }: Answer): void {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
  const type = Buffer.isBuffer(body) ? 'application/octet-stream' : 'application/json; charset=UTF-8';
  const length = status === 204 ? {} : { 'content-length': bytes.byteLength };
  response.writeHead(status, { 'content-type': type, ...length, ...(headers as Record<string, string>) });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}

async function answerTo(call: Call): Promise<Answer> {
  const { state, request, url } = call;
  const route = `${request.method ?? ''} ${url.pathname}`;
  if (route === 'POST /token') return grant(call);
  if (route === 'GET /computeMetadata/v1/instance/service-accounts/default/token') return grantToMachine(call);
  const account = state.accounts.accountOf(request.headers.authorization);
  const refusal = state.refusals.shift();
  if (refusal !== undefined) throw refusal;

  const upload = /^\/upload\/storage\/v1\/b\/([^/]+)\/o$/u.exec(url.pathname);
  if (upload !== null && request.method === 'POST') return insert(call, account, decoded(upload[1]));
  const [, bucketName, rest] = /^\/storage\/v1\/b\/([^/]+)(?:\/(.*))?$/u.exec(url.pathname) ?? [];
  if (bucketName === undefined) return readByXml(call, account);
  state.bucket.assertName(decoded(bucketName));
  if (rest === undefined && request.method === 'GET') return bucketGet(call, account);
  if (rest === 'o' && request.method === 'GET') return list(call, account);
  const object = /^o\/([^/]+)$/u.exec(rest ?? '');
  if (object === null) throw new Refusal(404, 'notFound', 'Not Found');
  const name = decoded(object[1]);
  if (request.method === 'GET')
    return url.searchParams.get('alt') === 'media' ? readByJson(call, account, name) : objectGet(call, account, name);
  if (request.method === 'DELETE') return remove(call, account, name);
  throw new Refusal(405, 'methodNotAllowed', 'Method Not Allowed');
}

async function grant({ state, request }: Call): Promise<Answer> {
  if (request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') !== true) {
    return { status: 400, body: { error: 'invalid_request', error_description: 'Bad Request' } };
  }
  const form = new URLSearchParams((await received(request)).toString());
  return state.accounts.grant(form);
}

async function grantToMachine({ state, request }: Call): Promise<Answer> {
  if (request.headers['metadata-flavor'] !== 'Google') return { status: 403, body: Buffer.from('Missing Metadata-Flavor:Google header.') };
  return state.accounts.grantToMachine();
}

async function insert({ state, request, url }: Call, account: GcpAccount, bucketName: string): Promise<Answer> {
  const query = queryOf(url, ['uploadType', 'name', 'ifGenerationMatch', 'kmsKeyName']);
  state.bucket.assertName(bucketName);
  account.assertMay('storage.objects.create', 'to the Google Cloud Storage object');
  if (query.get('uploadType') !== 'multipart') throw new Refusal(400, 'notEmulated', 'only multipart uploads are here');
  const body = await received(request);
  const { metadata, bytes } = parseMultipart(request.headers['content-type'], body);
  if (state.damages.upload > 0 && bytes.byteLength > 0) {
    state.damages.upload -= 1;
    bytes[bytes.byteLength >> 1] = (bytes[bytes.byteLength >> 1] ?? 0) ^ 1;
  }
  if (metadata['retention'] !== undefined) account.assertMay('storage.objects.setRetention', 'to the Google Cloud Storage object');
  const object = state.bucket.insert(query.get('name') ?? metadata['name'], metadata, bytes, {
    ifGenerationMatch: query.get('ifGenerationMatch'),
    kmsKeyName: query.get('kmsKeyName'),
    mayReplace: () => account.assertMay('storage.objects.delete', 'to the Google Cloud Storage object'),
  });
  return { status: 200, body: pickFields(fieldsOf(query), state.bucket.resourceOf(object)) };
}

function bucketGet({ state, url }: Call, account: GcpAccount): Answer {
  const query = queryOf(url, []);
  account.assertMay('storage.buckets.get', 'to the Google Cloud Storage bucket');
  const { name } = state.bucket;
  return {
    status: 200,
    body: pickFields(fieldsOf(query), { kind: 'storage#bucket', id: name, name, location: 'EU', storageClass: 'STANDARD' }),
  };
}

function list({ state, url }: Call, account: GcpAccount): Answer {
  const named = ['prefix', 'delimiter', 'maxResults', 'pageToken', 'startOffset', 'endOffset', 'versions', 'includeTrailingDelimiter'];
  const more = ['includeFoldersAsPrefixes', 'softDeleted', 'matchGlob', 'filter'];
  const query = queryOf(url, [...named, ...more]);
  account.assertMay('storage.objects.list', 'to the Google Cloud Storage bucket');
  for (const parameter of ['startOffset', 'endOffset', 'versions', 'includeTrailingDelimiter', ...more]) {
    if (!['', 'false', null].includes(query.get(parameter))) throw new Refusal(400, 'notEmulated', `${parameter} is not here`);
  }
  return { status: 200, body: pickFields(fieldsOf(query), state.bucket.list(query)) };
}

function objectGet({ state, url }: Call, account: GcpAccount, name: string): Answer {
  const query = queryOf(url, ['alt']);
  account.assertMay('storage.objects.get', 'to the Google Cloud Storage object');
  return { status: 200, body: pickFields(fieldsOf(query), state.bucket.resourceOf(state.bucket.find(name, account))) };
}

function readByJson(call: Call, account: GcpAccount, name: string): Answer {
  queryOf(call.url, ['alt']);
  return read(call, account, name);
}

/** The XML API's GET Object, which Google's clients read with. */
function readByXml(call: Call, account: GcpAccount): Answer {
  const [, bucketName, name] = /^\/([^/]+)\/(.+)$/u.exec(call.url.pathname) ?? [];
  if (bucketName !== call.state.bucket.name || (call.request.method !== 'GET' && call.request.method !== 'HEAD')) {
    throw new Refusal(404, 'notFound', 'Not Found');
  }
  queryOf(call.url, []);
  return read(call, account, decoded(name));
}

function read({ state, request }: Call, account: GcpAccount, name: string): Answer {
  account.assertMay('storage.objects.get', 'to the Google Cloud Storage object');
  const object = state.bucket.find(name, account);
  const range = rangeOf(request.headers.range, object.bytes.byteLength);
  let bytes = range === undefined ? object.bytes : object.bytes.subarray(range.first, range.last + 1);
  if (state.damages.download > 0 && bytes.byteLength > 0) {
    state.damages.download -= 1;
    bytes = Buffer.from(bytes);
    bytes[0] = (bytes[0] ?? 0) ^ 1;
  }
  const { crc32c, md5Hash } = object;
  const headers = {
    'x-goog-generation': object.generation,
    'x-goog-metageneration': '1',
    'x-goog-stored-content-length': String(object.bytes.byteLength),
    'x-goog-stored-content-encoding': 'identity',
    'x-goog-hash': [`crc32c=${crc32c}`, `md5=${md5Hash}`],
    'last-modified': new Date(object.timeCreated).toUTCString(),
  };
  if (range === undefined) return { status: 200, headers, body: bytes };
  const { first, last } = range;
  const contentRange = `bytes ${String(first)}-${String(last)}/${String(object.bytes.byteLength)}`;
  return { status: 206, headers: { ...headers, 'content-range': contentRange }, body: bytes };
}

function remove({ state, url }: Call, account: GcpAccount, name: string): Answer {
  const query = queryOf(url, ['ifGenerationMatch']);
  account.assertMay('storage.objects.delete', 'to the Google Cloud Storage object');
  state.bucket.remove(name, query.get('ifGenerationMatch'), account);
  return { status: 204 };
}

/** The parameters that every method takes, and these. */
function queryOf(url: URL, named: readonly string[]): URLSearchParams {
  const known = [...named, 'alt', 'fields', 'prettyPrint', 'projection', 'key', 'quotaUser', 'userProject'];
  for (const parameter of url.searchParams.keys()) {
    if (!known.includes(parameter)) throw new Refusal(400, 'invalidParameter', `Unknown parameter: ${parameter}`);
  }
  const alt = url.searchParams.get('alt');
  if (alt !== null && alt !== 'json' && alt !== 'media') throw new Refusal(400, 'invalidAltValue', `Invalid value for alt: ${alt}`);
  return url.searchParams;
}

/** Rejects when the connection ends before its body does: then nothing has happened. */
async function received(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > maxUploadBytes) throw new Refusal(413, 'uploadTooLarge', 'Payload too large');
    chunks.push(chunk);
  }
  if (!request.complete) throw new Error('the body broke off');
  return Buffer.concat(chunks, sizeBytes);
}

function decoded(part: string | undefined): string {
  try {
    return decodeURIComponent(part ?? '');
  } catch {
    throw new Refusal(400, 'invalid', 'Bad Request');
  }
}
