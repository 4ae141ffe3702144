import { Readable } from 'node:stream';
import type { BlobItem, BlockBlobUploadOptions, ContainerClient } from '@azure/storage-blob';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { heldError, holdUntil, type HoldingStorage, type ObjectHold } from '../hold.ts';
import { assertListPrefix, assertObjectName, isObjectName, isTransientName } from '../object-name.ts';
import type { AdapterSettings } from '../remote/adapter-settings.ts';
import { hashOfParts, lengthOf, readExactly } from '../remote/body.ts';
import { type HttpAgents, openHttpAgents } from '../remote/http-agents.ts';
import type { ByteRange, CallOptions, GetOptions, Storage, StoredObject } from '../storage.ts';
import { untilAborted } from '../until-aborted.ts';
import { bodyOf } from './azure-blob-body.ts';
import { type AzureBlobAccess, azureContainerClient } from './azure-blob-client.ts';
import { azureBlobError, oddAnswer } from './azure-blob-error.ts';
import { type AzureBlobCredentials, azureBlobLocation, type AzureBlobOptions } from './azure-blob-options.ts';
import { type EntraTokens, openEntraTokens } from './azure-blob-token.ts';

/**
 * A repository in a container of Azure Blob Storage, in restic's layout, so that stock restic opens it as it is.
 *
 * An object is one Put Blob on the condition that there is none of its name, which the service decides (exclusive, atomic), with the MD5 of
 * its bytes, which the service checks before it answers. The client's own retries are off: every call is one try.
 */

/** What a page of a listing holds at most; the service gives up to 5000, which take a while to parse on the thread that all share. */
const listPageSize = 1000;
/** No object of a repository comes near; a server that announces more is not believed. */
const maxReadBytes = 1024 * 1024 * 1024;
const msPerDay = 24 * 60 * 60 * 1000;
/** What a refused delete of a held blob is called. */
const heldByPolicy = 'BlobImmutableDueToPolicy';
/** What a SAS without the right to replace is told about a blob that is there: by Azurite always, and by the service as its version has it. */
const mayBeThere = 'AuthorizationPermissionMismatch';

/** Nothing is asked of the service yet. Error: storage_denied for tokens that may not be fetched. */
export async function openAzureBlobStorage(
  options: AzureBlobOptions,
  credentials: AzureBlobCredentials,
  settings: AdapterSettings,
  /** Where a machine asks for its own identity's tokens; tests give another. */
  machineOrigin?: string,
): Promise<Storage> {
  if ('accountKey' in credentials || 'sasToken' in credentials) return new AzureBlobStorage(options, credentials, settings);
  return new AzureBlobStorage(options, { tokens: openEntraTokens(options, credentials, settings, machineOrigin) }, settings);
}

class AzureBlobStorage implements Storage {
  readonly location: string;
  readonly holdOf?: HoldingStorage['holdOf'];
  readonly #options: AzureBlobOptions;
  readonly #agents: HttpAgents;
  readonly #tokens: EntraTokens | undefined;
  readonly #container: ContainerClient;
  /** What blobs' names begin with: `''`, or the prefix and its slash. */
  readonly #base: string;
  readonly #closed = new AbortController();

  constructor(options: AzureBlobOptions, access: AzureBlobAccess, settings: AdapterSettings) {
    this.#options = options;
    this.location = azureBlobLocation(options);
    this.#base = options.prefix === undefined ? '' : `${options.prefix}/`;
    if ('tokens' in access) this.#tokens = access.tokens;
    this.#agents = openHttpAgents({ ...settings, caCertificate: options.caCertificate, proxyUrl: options.proxy });
    this.#container = azureContainerClient(options, access, this.#agents);
    if (options.immutability !== undefined) this.holdOf = (name, { signal } = {}) => this.#holdOf(name, signal);
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], options: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes;
    try {
      await this.#call(name, options.signal, (abortSignal) => this.#upload(name, parts, abortSignal));
    } catch (error) {
      if (!isHoldfastError(error, 'storage_denied') || error.context['serverCode'] !== mayBeThere) throw error;
      if (!(await this.#isThere(name, options))) throw error;
      const context = { object: name, location: this.location };
      throw new HoldfastError('storage_object_exists', `${name} at ${this.location} is there already`, { context });
    }
  }

  async get(name: string, options: GetOptions = {}): Promise<Uint8Array> {
    assertObjectName(name);
    const { range, signal } = options;
    // The service has no ranges of nothing.
    if (range?.lengthBytes === 0) return this.#readNothing(name, range, options);
    return this.#call(name, signal, (abortSignal) => this.#download(name, options, abortSignal));
  }

  async stat(name: string, options: CallOptions = {}): Promise<StoredObject> {
    assertObjectName(name);
    const found = await this.#call(name, options.signal, (abortSignal) =>
      this.#container.getBlobClient(this.#base + name).getProperties({ abortSignal }),
    );
    const { contentLength: sizeBytes, lastModified: modifiedAt } = found;
    if (sizeBytes === undefined || modifiedAt === undefined) throw oddAnswer(name, this.location, 'the answer tells no size or no time');
    return { name, sizeBytes, modifiedAt };
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncIterable<StoredObject> {
    assertListPrefix(prefix);
    const what = prefix === '' ? 'the repository folder' : prefix;
    let continuationToken: string | undefined;
    do {
      const page = await this.#call(what, options.signal, async (abortSignal) => {
        // Metadata tells the folders of a hierarchical account from blobs.
        const pages = this.#container.listBlobsFlat({ prefix: this.#base + prefix, includeMetadata: true, abortSignal });
        const next = await pages
          .byPage({ maxPageSize: listPageSize, ...(continuationToken === undefined ? {} : { continuationToken }) })
          .next();
        if (next.done === true) throw oddAnswer(what, this.location, 'a page of the listing is missing');
        return { objects: this.#objectsOf(next.value.segment.blobItems), continuationToken: next.value.continuationToken };
      });
      for (const object of page.objects) {
        options.signal?.throwIfAborted();
        yield object;
      }
      continuationToken = page.continuationToken === '' ? undefined : page.continuationToken;
    } while (continuationToken !== undefined);
  }

  async delete(name: string, options: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    // In an account with versions a delete may be taken and only hide the blob.
    const hold = isTransientName(name) ? undefined : await this.holdOf?.(name, options);
    if (hold !== undefined) throw heldError(name, this.location, hold);
    try {
      await this.#call(name, options.signal, (abortSignal) => this.#container.getBlobClient(this.#base + name).delete({ abortSignal }));
    } catch (error) {
      if (isHoldfastError(error, 'storage_object_missing')) return;
      const isHeld = isHoldfastError(error, 'storage_denied') && error.context['serverCode'] === heldByPolicy;
      throw isHeld ? heldError(name, this.location, { freeAt: null }, heldByPolicy) : error;
    }
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#agents.close();
    this.#tokens?.close();
  }

  async #holdOf(name: string, signal: AbortSignal | undefined): Promise<ObjectHold | undefined> {
    assertObjectName(name);
    try {
      const blob = this.#container.getBlobClient(this.#base + name);
      const { immutabilityPolicyExpiresOn, legalHold } = await this.#call(name, signal, (abortSignal) =>
        blob.getProperties({ abortSignal }),
      );
      return holdUntil(immutabilityPolicyExpiresOn, legalHold === true, new Date());
    } catch (error) {
      if (isHoldfastError(error, 'storage_object_missing')) return undefined;
      throw error;
    }
  }

  async #upload(name: string, parts: readonly Uint8Array[], abortSignal: AbortSignal): Promise<void> {
    const { accessTier, immutability } = this.#options;
    const options: BlockBlobUploadOptions = {
      abortSignal,
      conditions: { ifNoneMatch: '*' },
      transactionalContentMD5: await hashOfParts('md5', parts, abortSignal),
    };
    // Neither a cheaper tier, which bills weeks, nor a time to be kept for is for what lives for minutes.
    if (!isTransientName(name)) {
      if (accessTier !== undefined) options.tier = tierNames[accessTier];
      if (immutability !== undefined) {
        const expiriesOn = new Date(Date.now() + immutability.days * msPerDay);
        options.immutabilityPolicy = { expiriesOn, policyMode: immutability.mode === 'locked' ? 'Locked' : 'Unlocked' };
      }
    }
    await this.#container.getBlockBlobClient(this.#base + name).upload(() => bodyOf(parts), lengthOf(parts), options);
  }

  async #download(name: string, { range, into }: GetOptions, abortSignal: AbortSignal): Promise<Uint8Array> {
    const { offsetBytes, lengthBytes } = range ?? {};
    const answer = await this.#container
      .getBlobClient(this.#base + name)
      .download(offsetBytes, lengthBytes, { abortSignal, maxRetryRequests: 0 });
    const { contentLength, contentRange, readableStreamBody: body } = answer;
    if (!(body instanceof Readable)) throw oddAnswer(name, this.location, 'the answer has no body');
    try {
      if (contentLength === undefined || contentLength > maxReadBytes) {
        throw oddAnswer(name, this.location, `the answer tells no length, or one above ${String(maxReadBytes)} bytes`);
      }
      if (range !== undefined && contentRange?.startsWith(`bytes ${rangeText(range)}/`) !== true) {
        if (contentLength < range.lengthBytes) throw this.#tooShort(name, range);
        throw oddAnswer(name, this.location, 'the answer has other bytes than were asked for');
      }
      const bytes = await readExactly(body, contentLength, into);
      if (bytes === undefined) throw oddAnswer(name, this.location, 'the answer has another length than it tells');
      return bytes;
    } finally {
      // Without it a connection whose body nobody reads would be lost to the others.
      body.destroy();
    }
  }

  async #readNothing(name: string, range: ByteRange, options: CallOptions): Promise<Uint8Array> {
    const { sizeBytes } = await this.stat(name, options);
    if (range.offsetBytes > sizeBytes) throw this.#tooShort(name, range);
    return new Uint8Array(0);
  }

  async #isThere(name: string, options: CallOptions): Promise<boolean> {
    try {
      await this.stat(name, options);
      return true;
    } catch (error) {
      if (isHoldfastError(error, 'storage_object_missing') || isHoldfastError(error, 'storage_denied')) return false;
      throw error;
    }
  }

  #objectsOf(items: readonly BlobItem[]): StoredObject[] {
    const objects: StoredObject[] = [];
    for (const { name: blobName, metadata, properties } of items) {
      const name = blobName.slice(this.#base.length);
      if (!blobName.startsWith(this.#base) || !isObjectName(name) || metadata?.['hdi_isfolder'] === 'true') continue;
      const { contentLength: sizeBytes, lastModified: modifiedAt } = properties;
      if (sizeBytes === undefined) throw oddAnswer(name, this.location, 'the listing tells no size');
      objects.push({ name, sizeBytes, modifiedAt });
    }
    return objects;
  }

  /** One try of a call. Aborting rejects at once; the client ends the request on its own. */
  async #call<T>(what: string, signal: AbortSignal | undefined, work: (abortSignal: AbortSignal) => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    const abortSignal = signal === undefined ? this.#closed.signal : AbortSignal.any([this.#closed.signal, signal]);
    return untilAborted(
      this.#translated(what, () => work(abortSignal)),
      signal,
    );
  }

  async #translated<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (this.#closed.signal.aborted) throw oddAnswer(what, this.location, 'the storage was closed');
      throw azureBlobError(error, what, this.location);
    }
  }

  #tooShort(name: string, range: ByteRange): HoldfastError {
    const context = { object: name, location: this.location, ...range };
    return new HoldfastError('storage_object_too_short', `${name} at ${this.location} ends before the bytes asked for`, { context });
  }
}

const tierNames = { hot: 'Hot', cool: 'Cool', cold: 'Cold' } as const;

function rangeText({ offsetBytes, lengthBytes }: ByteRange): string {
  return `${String(offsetBytes)}-${String(offsetBytes + lengthBytes - 1)}`;
}
