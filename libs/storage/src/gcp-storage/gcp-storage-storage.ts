import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { heldError, holdUntil, type HoldingStorage, type ObjectHold } from '../hold.ts';
import { assertListPrefix, assertObjectName, isObjectName, isTransientName } from '../object-name.ts';
import type { AdapterSettings } from '../remote/adapter-settings.ts';
import { type HttpAgents, openHttpAgents } from '../remote/http-agents.ts';
import { type CallOptions, type GetOptions, maxObjectSizeBytes, type Storage, type StoredObject } from '../storage.ts';
import { untilAborted } from '../until-aborted.ts';
import { assertHash, assertRange } from './gcp-storage-answer.ts';
import { gcpAnswerError, gcpConnectionError } from './gcp-storage-error.ts';
import { defaultGcpEndpoint, gcpStorageLocation, type GcpStorageCredentials, type GcpStorageOptions } from './gcp-storage-options.ts';
import { type HttpRequest, type HttpResponse, readJson, sendHttpRequest } from '../remote/http-request.ts';
import { type GcpTokens, openGcpTokens, requestByKey, requestByMachine } from './gcp-storage-token.ts';
import { makeUpload } from './gcp-storage-upload.ts';

/**
 * A repository in a bucket of Google Cloud Storage, by the JSON API (cloud.google.com/storage/docs/json_api/v1), in restic's layout.
 *
 * The service itself keeps the promises: an upload in one request is seen whole or not at all and is durable when it is answered, its
 * MD5 goes before it so that the service refuses what arrives damaged, `ifGenerationMatch=0` makes it fail where an object is, and every
 * read and listing sees what was answered before it.
 *
 * Google's own client (@google-cloud/storage 8.4 on teeny-request 11 and gaxios 8) was not taken for the five calls that are needed. It
 * takes no agent: sockets come from two pools of the process, so that a certificate authority or a proxy given for one storage would be
 * everybody's, and a socket that goes silent is waited for without end. It follows redirects, takes no AbortSignal, reads its endpoint and
 * proxies from the process's environment, sends an upload of unknown length through three streams, asks one fixed address for tokens and
 * tries that again by itself, and leaves the access token in its errors.
 */

/** The most that the service lists at once. */
const pageSize = 1000;
/** A page of a thousand names of a kilobyte each has a tenth of it. */
const maxAnswerBytes = 16 * 1024 * 1024;
/** What a refusal says, at the end of a call for few bytes too. */
const maxRefusalBytes = 65_536;
/** An upload that was sent whole when it is aborted: so long an abort waits to learn whether it came too late. Half of what it may take. */
const settleMs = 500;
/** Puts that are being taken back are waited for at the end; a server that is out of reach by then keeps what it has. */
const takingBackMs = 5_000;

/** What a refused delete of a held object is called. */
const heldReasons: ReadonlySet<string> = new Set(['retentionPolicyNotMet', 'objectUnderActiveHold']);

/** Numbers come as text, and servers that make their answers of protocol buffers leave a zero out. */
const objectSchema = z.object({
  size: z
    .string()
    .regex(/^\d{1,15}$/u)
    .default('0'),
  timeCreated: z.iso.datetime({ offset: true }),
});
const pageSchema = z.object({
  nextPageToken: z.string().optional(),
  items: z.array(objectSchema.extend({ name: z.string() })).default([]),
});
const heldSchema = z.object({
  retention: z.object({ retainUntilTime: z.iso.datetime({ offset: true }) }).optional(),
  /** By the bucket's own policy. */
  retentionExpirationTime: z.iso.datetime({ offset: true }).optional(),
  temporaryHold: z.boolean().optional(),
  eventBasedHold: z.boolean().optional(),
});
const writtenSchema = z.object({ generation: z.string() });

/** Opens a bucket as a storage; nothing is sent yet. Error: storage_denied for a key that cannot sign. */
export async function openGcpStorage(
  options: GcpStorageOptions,
  credentials: GcpStorageCredentials,
  settings: AdapterSettings,
  /** Where a machine asks for its own account's tokens; tests give another. */
  metadataOrigin?: string,
): Promise<Storage> {
  const { caCertificate, proxy: proxyUrl } = options;
  const location = gcpStorageLocation(options);
  if ('from' in credentials) {
    const makeRequest = requestByMachine(metadataOrigin);
    // The machine's own server is reached directly and without TLS.
    const tokenAgents = openHttpAgents({ maxConnections: 1, idleTimeoutMs: settings.idleTimeoutMs });
    const agents = openHttpAgents({ ...settings, caCertificate, proxyUrl });
    return new GcpStorage(options, [agents, tokenAgents], openGcpTokens(tokenAgents, makeRequest, location));
  }
  const makeRequest = requestByKey(credentials.serviceAccountKey, options.endpoint);
  const agents = openHttpAgents({ ...settings, caCertificate, proxyUrl });
  return new GcpStorage(options, [agents], openGcpTokens(agents, makeRequest, location));
}

type AuthorizedRequest = Omit<HttpRequest, 'headers'> & { readonly headers?: Readonly<Record<string, string>> };

class GcpStorage implements Storage {
  readonly location: string;
  readonly holdOf?: HoldingStorage['holdOf'];
  readonly #options: GcpStorageOptions;
  readonly #agents: readonly [HttpAgents, ...HttpAgents[]];
  readonly #tokens: GcpTokens;
  /** Put before every name. */
  readonly #folder: string;
  /** Puts that were aborted when all was sent: should they be done after all, they are taken back. */
  readonly #unsettled = new Set<Promise<void>>();

  constructor(options: GcpStorageOptions, agents: readonly [HttpAgents, ...HttpAgents[]], tokens: GcpTokens) {
    this.#options = options;
    this.#agents = agents;
    this.#tokens = tokens;
    this.#folder = options.prefix === undefined ? '' : `${options.prefix}/`;
    this.location = gcpStorageLocation(options);
    if (options.retention !== undefined) this.holdOf = (name, { signal } = {}) => this.#holdOf(name, signal);
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], { signal }: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    signal?.throwIfAborted();
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes;
    const sending = new AbortController();
    let isSent = false;
    const work = this.#upload(name, parts, sending.signal, () => (isSent = true));
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => {
      // Once all is sent, only the answer tells whether it is done.
      void sleep(isSent ? settleMs : 0).then(() => reject(signal?.reason));
      if (!isSent) sending.abort(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await (signal === undefined ? work : Promise.race([work, aborted]));
    } catch (error) {
      if (signal?.aborted !== true) throw error;
      this.#takeBack(name, work);
      throw signal.reason;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async get(name: string, { range, signal }: GetOptions = {}): Promise<Uint8Array> {
    assertObjectName(name);
    if (range?.lengthBytes === 0) return this.#getNothing(name, range.offsetBytes, signal);
    const maxBytes = Math.max(range?.lengthBytes ?? maxObjectSizeBytes, maxRefusalBytes);
    const asked =
      range === undefined ? {} : { range: `bytes=${String(range.offsetBytes)}-${String(range.offsetBytes + range.lengthBytes - 1)}` };
    const url = this.#objectUrl(name, { alt: 'media' });
    const response = await this.#send(name, { method: 'GET', url, headers: asked, maxAnswerBytes: maxBytes, signal }, [200, 206]);
    const place = { what: name, location: this.location };
    if (range === undefined) await assertHash(response, place);
    else assertRange(response, range, place);
    return response.body;
  }

  async stat(name: string, { signal }: CallOptions = {}): Promise<StoredObject> {
    assertObjectName(name);
    const url = this.#objectUrl(name, { fields: 'size,timeCreated' });
    const response = await this.#send(name, { method: 'GET', url, maxAnswerBytes, signal });
    const { size, timeCreated } = this.#parsed(objectSchema, response, name);
    return { name, sizeBytes: Number(size), modifiedAt: new Date(timeCreated) };
  }

  async *list(prefix: string, { signal }: CallOptions = {}): AsyncIterable<StoredObject> {
    assertListPrefix(prefix);
    const what = prefix === '' ? 'the listing' : `the listing of ${prefix}`;
    const query = {
      prefix: `${this.#folder}${prefix}`,
      maxResults: String(pageSize),
      fields: 'nextPageToken,items(name,size,timeCreated)',
    };
    let pageToken: string | undefined;
    do {
      const url = this.#url('/storage/v1', '', { ...query, ...(pageToken === undefined ? {} : { pageToken }) });
      const response = await this.#send(what, { method: 'GET', url, maxAnswerBytes, signal });
      const page = this.#parsed(pageSchema, response, what);
      for (const item of page.items) {
        signal?.throwIfAborted();
        const name = item.name.slice(this.#folder.length);
        // What else lies in the bucket is nobody's business.
        if (!item.name.startsWith(this.#folder) || !isObjectName(name)) continue;
        yield { name, sizeBytes: Number(item.size), modifiedAt: new Date(item.timeCreated) };
      }
      if (page.nextPageToken === pageToken && pageToken !== undefined) throw this.#strange(what);
      pageToken = page.nextPageToken;
    } while (pageToken !== undefined);
  }

  async delete(name: string, { signal }: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    // In a bucket with versions a delete may be taken and only hide the object.
    const hold = isTransientName(name) ? undefined : await this.holdOf?.(name, signal === undefined ? {} : { signal });
    if (hold !== undefined) throw heldError(name, this.location, hold);
    try {
      await this.#remove(name, {}, signal);
    } catch (error) {
      const serverCode = isHoldfastError(error, 'storage_denied') ? error.context['serverCode'] : undefined;
      if (typeof serverCode !== 'string' || !heldReasons.has(serverCode)) throw error;
      throw heldError(name, this.location, (await this.#holdOf(name, signal)) ?? { freeAt: null }, serverCode);
    }
  }

  async close(): Promise<void> {
    await Promise.race([Promise.allSettled(this.#unsettled), sleep(takingBackMs, undefined, { ref: false })]);
    for (const agents of this.#agents) agents.close();
  }

  async #holdOf(name: string, signal: AbortSignal | undefined): Promise<ObjectHold | undefined> {
    assertObjectName(name);
    const url = this.#objectUrl(name, { fields: 'retention,retentionExpirationTime,temporaryHold,eventBasedHold' });
    try {
      const response = await this.#send(name, { method: 'GET', url, maxAnswerBytes, signal });
      const { retention, retentionExpirationTime, temporaryHold, eventBasedHold } = this.#parsed(heldSchema, response, name);
      const ends = [retention?.retainUntilTime, retentionExpirationTime].flatMap((end) => (end === undefined ? [] : [Date.parse(end)]));
      const end = ends.length === 0 ? undefined : new Date(Math.max(...ends));
      return holdUntil(end, temporaryHold === true || eventBasedHold === true, new Date());
    } catch (error) {
      if (isHoldfastError(error, 'storage_object_missing')) return undefined;
      throw error;
    }
  }

  /** The generation of what was written. */
  async #upload(name: string, parts: readonly Uint8Array[], signal: AbortSignal, onSent: () => void): Promise<string> {
    const { contentType, body } = await makeUpload(`${this.#folder}${name}`, parts, {
      ...this.#options,
      objectName: name,
    });
    const { kmsKeyName } = this.#options;
    const url = this.#url('/upload/storage/v1', '', {
      uploadType: 'multipart',
      ifGenerationMatch: '0',
      fields: 'generation',
      ...(kmsKeyName === undefined ? {} : { kmsKeyName }),
    });
    const headers = { 'content-type': contentType };
    const response = await this.#send(name, { method: 'POST', url, headers, body, maxAnswerBytes, signal, onSent });
    return this.#parsed(writtenSchema, response, name).generation;
  }

  /** Removes what an aborted put wrote after all, and nothing but that. */
  #takeBack(name: string, work: Promise<string>): void {
    const cleaning = work
      .then((generation) => this.#remove(name, { ifGenerationMatch: generation }, undefined))
      // The put failed, as an aborted one does, or the server cannot be reached: it is given up, with what that may leave.
      .catch(() => undefined)
      .finally(() => this.#unsettled.delete(cleaning));
    this.#unsettled.add(cleaning);
  }

  async #remove(name: string, query: Readonly<Record<string, string>>, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#send(name, { method: 'DELETE', url: this.#objectUrl(name, query), maxAnswerBytes, signal });
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'storage_object_missing') throw error;
    }
  }

  async #getNothing(name: string, offsetBytes: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const { sizeBytes } = await this.stat(name, signal === undefined ? {} : { signal });
    if (offsetBytes <= sizeBytes) return new Uint8Array(0);
    const context = { object: name, location: this.location, sizeBytes, offsetBytes };
    throw new HoldfastError('storage_object_too_short', `${name} at ${this.location} ends before the bytes asked for`, { context });
  }

  /** One try. A token that was in use may have been revoked, or the clock have jumped: then, and only then, a new one is tried. */
  async #send(what: string, request: AuthorizedRequest, good: readonly number[] = [200, 204]): Promise<HttpResponse> {
    const { signal } = request;
    signal?.throwIfAborted();
    const { token, isNew } = await this.#tokens.take(signal);
    let response = await this.#sendAs(token, what, request);
    if (response.status === 401) {
      this.#tokens.forget(token);
      if (!isNew) response = await this.#sendAs((await this.#tokens.take(signal)).token, what, request);
    }
    if (good.includes(response.status)) return response;
    throw gcpAnswerError(response, { what, location: this.location });
  }

  async #sendAs(token: string, what: string, request: AuthorizedRequest): Promise<HttpResponse> {
    const { signal } = request;
    const headers = { ...request.headers, authorization: `Bearer ${token}` };
    try {
      // What ends the wait for a connection is the signal, not the connection.
      return await untilAborted(sendHttpRequest(this.#agents[0], { ...request, headers }), signal);
    } catch (error) {
      signal?.throwIfAborted();
      throw gcpConnectionError(error, { what, location: this.location });
    }
  }

  #objectUrl(name: string, query: Readonly<Record<string, string>>): URL {
    return this.#url('/storage/v1', `/${encodeURIComponent(`${this.#folder}${name}`)}`, query);
  }

  #url(api: string, path: string, query: Readonly<Record<string, string>>): URL {
    const { endpoint = defaultGcpEndpoint, bucket } = this.#options;
    const url = new URL(`${api}/b/${bucket}/o${path}`, endpoint);
    url.search = new URLSearchParams(query).toString();
    return url;
  }

  #parsed<T extends z.ZodType>(schema: T, response: HttpResponse, what: string): z.infer<T> {
    const parsed = schema.safeParse(readJson(response.body));
    if (parsed.success) return parsed.data;
    throw this.#strange(what);
  }

  #strange(what: string): HoldfastError {
    const context = { object: what, location: this.location };
    return new HoldfastError('storage_unreachable', `${what} at ${this.location}: the answer is none of the JSON API`, { context });
  }
}
