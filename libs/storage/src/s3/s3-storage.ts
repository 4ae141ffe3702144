import { DeleteObjectCommand, HeadObjectCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { HoldingStorage } from '../hold.ts';
import { assertListPrefix, assertObjectName } from '../object-name.ts';
import type { AdapterSettings } from '../remote/adapter-settings.ts';
import { openHttpAgents, type HttpAgents } from '../remote/http-agents.ts';
import type { CallOptions, GetOptions, PutOptions, Storage, StorageOperation, StoredObject } from '../storage.ts';
import { untilAborted } from '../until-aborted.ts';
import { CallSlots } from './call-slots.ts';
import { readS3Body, type S3Body } from './s3-body.ts';
import { openS3Client } from './s3-client.ts';
import { s3Keys } from './s3-credentials.ts';
import { s3Error, wantsMd5 } from './s3-error.ts';
import { ExclusivePut } from './s3-exclusive-put.ts';
import { readS3Object, tooShort } from './s3-get.ts';
import { readPage, type S3Page, storedObject } from './s3-listing.ts';
import { type S3Credentials, s3Location, type S3Options } from './s3-options.ts';
import { isLockedName, sendS3Put } from './s3-put.ts';
import { deleteS3Versions, holdOfS3Key, renewS3Lock, type S3Key } from './s3-versions.ts';

/** What stands outside of a config. */
export interface S3Surroundings {
  /** The operator's word that a config may use the worker's own rights. */
  readonly allowAmbient?: boolean;
  readonly environment?: NodeJS.ProcessEnv;
  /** Dates the end of object locks. */
  readonly now?: () => Date;
}

/**
 * A repository in a bucket, in restic's layout: an object is one put, which the server takes whole or not at all, checked by the hash in
 * its signature. One try a call. Nothing goes over the network yet.
 * Errors: storage_denied for credentials that may not be used, and those of the Storage.
 */
export async function openS3Storage(
  options: S3Options,
  credentials: S3Credentials,
  { idleTimeoutMs, maxConnections }: AdapterSettings,
  { allowAmbient = false, environment = process.env, now = () => new Date() }: S3Surroundings = {},
): Promise<Storage> {
  const keys = s3Keys(credentials, { allowAmbient, environment });
  const agents = openHttpAgents({ maxConnections, idleTimeoutMs, caCertificate: options.caCertificate, proxyUrl: options.proxy });
  const secrets = [keys?.secretAccessKey, keys?.sessionToken].filter((secret) => secret !== undefined);
  return new S3Storage({
    options,
    agents,
    client: openS3Client(options, keys, agents),
    slots: new CallSlots(maxConnections),
    secrets,
    now,
  });
}

interface S3Parts {
  readonly options: S3Options;
  readonly agents: HttpAgents;
  readonly client: S3Client;
  readonly slots: CallSlots;
  readonly secrets: readonly string[];
  readonly now: () => Date;
}

class S3Storage implements Storage {
  readonly location: string;
  readonly holdOf?: HoldingStorage['holdOf'];
  readonly renewHold?: NonNullable<HoldingStorage['renewHold']>;
  readonly #parts: S3Parts;
  readonly #bucket: string;
  /** What stands before names in keys. */
  readonly #root: string;
  readonly #exclusive: ExclusivePut;
  #isLockProven = false;
  /** Where objects are locked, by our word or by what the bucket does with every object, a body goes with its MD5. */
  #needsMd5: boolean;

  constructor(parts: S3Parts) {
    const { bucket, prefix } = parts.options;
    this.location = s3Location(parts.options);
    this.#parts = parts;
    this.#needsMd5 = parts.options.objectLock !== undefined;
    this.#bucket = bucket;
    this.#root = prefix === undefined ? '' : `${prefix}/`;
    const { objectLock } = parts.options;
    if (objectLock !== undefined) {
      this.holdOf = async (name, { signal } = {}) => {
        assertObjectName(name);
        return this.#call('stat', name, signal, () => holdOfS3Key(this.#versionsOf(name, signal), signal));
      };
    }
    if (objectLock?.renew === true) {
      this.renewHold = async (name, { signal } = {}) => {
        assertObjectName(name);
        return this.#call('stat', name, signal, () => renewS3Lock(this.#versionsOf(name, signal), objectLock, signal));
      };
    }
    this.#exclusive = new ExclusivePut({
      assertFree: (name, signal) => this.#assertFree(name, signal),
      write: (name, body, isConditional, signal) => this.#write(name, body, isConditional, signal),
      translated: (name, error) => this.#translated('put', name, error),
    });
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], options: PutOptions = {}): Promise<void> {
    assertObjectName(name);
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes;
    const { signal, sha256 } = options;
    let body: S3Body | undefined;
    const put = async (): Promise<void> => {
      body = await readS3Body(parts, { sha256, needsMd5: this.#needsMd5 }, signal);
      await this.#exclusive.put({ name, body, isNamedByHash: sha256 !== undefined && name.endsWith(sha256) }, signal);
    };
    const work = async (): Promise<void> => {
      try {
        await put();
      } catch (error) {
        if (this.#needsMd5 || !wantsMd5(error)) throw error;
        this.#needsMd5 = true;
        await put();
      }
    };
    await this.#call('put', name, signal, work, () => body?.isHandedOver() === true);
  }

  async get(name: string, options: GetOptions = {}): Promise<Uint8Array> {
    assertObjectName(name);
    const { range, signal } = options;
    const object = { bucket: this.#bucket, key: this.#keyOf(name), name, location: this.location };
    if (range?.lengthBytes !== 0) return this.#call('get', name, signal, () => readS3Object(this.#parts.client, object, options));
    // No request can ask for no bytes.
    const { sizeBytes } = await this.stat(name, options);
    if (sizeBytes < range.offsetBytes) throw tooShort(object, range);
    return new Uint8Array(0);
  }

  async stat(name: string, options: CallOptions = {}): Promise<StoredObject> {
    assertObjectName(name);
    const { signal } = options;
    return this.#call('stat', name, signal, async () => {
      try {
        return await this.#head(name, signal);
      } catch (error) {
        await this.#assertExplained(error, name, signal);
        throw error;
      }
    });
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncIterable<StoredObject> {
    assertListPrefix(prefix);
    const { signal } = options;
    let token: string | undefined;
    do {
      const asked = token;
      const page = await this.#call('list', prefix, signal, () => this.#page(prefix, asked, signal));
      for (const object of page.objects) {
        signal?.throwIfAborted();
        yield object;
      }
      token = page.next;
    } while (token !== undefined);
    signal?.throwIfAborted();
  }

  async delete(name: string, options: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    const { signal } = options;
    await this.#call('delete', name, signal, async () => {
      if (this.holdOf !== undefined) return deleteS3Versions(this.#versionsOf(name, signal), signal);
      try {
        const command = new DeleteObjectCommand({ Bucket: this.#bucket, Key: this.#keyOf(name) });
        await this.#parts.client.send(command, sendOptions(signal));
      } catch (error) {
        // Amazon says nothing of an object that is not there; others do.
        if (!(error instanceof Error) || error.name !== 'NoSuchKey') throw error;
      }
    });
  }

  async close(): Promise<void> {
    this.#parts.agents.close();
  }

  async #assertFree(name: string, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#head(name, signal);
    } catch (error) {
      if (await this.#isMissing(error, name, signal)) return;
      throw error;
    }
    throw this.#error('storage_object_exists', name, 'is there already');
  }

  async #isMissing(error: unknown, name: string, signal: AbortSignal | undefined): Promise<boolean> {
    if (isHoldfastError(this.#translated('stat', name, error), 'storage_object_missing')) return true;
    await this.#assertExplained(error, name, signal);
    return false;
  }

  #versionsOf(name: string, signal: AbortSignal | undefined): S3Key {
    const { client, now } = this.#parts;
    const isMissing = (error: unknown): Promise<boolean> => this.#isMissing(error, name, signal);
    return { client, bucket: this.#bucket, key: this.#keyOf(name), name, location: this.location, now, isMissing };
  }

  /** A refusal of HEAD has no body and cannot say why, be it that there is no bucket; that of a listing can, and is thrown instead. */
  async #assertExplained(error: unknown, name: string, signal: AbortSignal | undefined): Promise<void> {
    const { code, context } = this.#translated('stat', name, error);
    if (code !== 'storage_unreachable' && 'status' in context) await this.#page(name, undefined, signal);
  }

  async #write(name: string, body: S3Body, isConditional: boolean, signal: AbortSignal | undefined): Promise<void> {
    const { client, options, now } = this.#parts;
    await sendS3Put(client, { options, name, key: this.#keyOf(name), body, isConditional, now: now() }, signal);
    if (options.objectLock !== undefined && isLockedName(name) && !this.#isLockProven) await this.#proveLock(name, signal);
  }

  /** Some servers take what asks for a lock and pass over it: nobody should believe to be safe there. */
  async #proveLock(name: string, signal: AbortSignal | undefined): Promise<void> {
    const object = { Bucket: this.#bucket, Key: this.#keyOf(name) };
    const { ObjectLockMode: mode } = await this.#parts.client.send(new HeadObjectCommand(object), sendOptions(signal));
    if (mode === undefined) {
      await this.#parts.client.send(new DeleteObjectCommand(object));
      throw this.#error('storage_denied', name, 'was stored without the object lock that was asked for', lockHint);
    }
    this.#isLockProven = true;
  }

  async #head(name: string, signal: AbortSignal | undefined): Promise<StoredObject> {
    const command = new HeadObjectCommand({ Bucket: this.#bucket, Key: this.#keyOf(name) });
    const { ContentLength: sizeBytes, LastModified: modifiedAt } = await this.#parts.client.send(command, sendOptions(signal));
    return storedObject(name, sizeBytes, modifiedAt);
  }

  async #page(prefix: string, token: string | undefined, signal: AbortSignal | undefined): Promise<S3Page> {
    const command = new ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: this.#keyOf(prefix),
      MaxKeys: pageSize,
      // Keys of others may hold what XML cannot.
      EncodingType: 'url',
      ContinuationToken: token,
    });
    return readPage(await this.#parts.client.send(command, sendOptions(signal)), this.#root, token);
  }

  /** Runs a call when its turn has come. An abort ends it at once; while `isTooLate` holds, only after a moment for the answer. */
  async #call<T>(
    operation: StorageOperation,
    object: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
    isTooLate?: () => boolean,
  ): Promise<T> {
    try {
      return await untilAborted(this.#parts.slots.run(signal, work), signal, isTooLate);
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#translated(operation, object, error);
    }
  }

  #translated(operation: StorageOperation, object: string, error: unknown): HoldfastError {
    const { options, secrets } = this.#parts;
    const what = object === '' ? 'the repository' : object;
    return s3Error(error, { operation, object: what, location: this.location, bucket: this.#bucket, region: options.region, secrets });
  }

  #error(code: ErrorCode, name: string, message: string, hint?: string): HoldfastError {
    const options = { context: { object: name, location: this.location }, ...(hint === undefined ? {} : { hint }) };
    return new HoldfastError(code, `${name} at ${this.location} ${message}`, options);
  }

  #keyOf(name: string): string {
    return `${this.#root}${name}`;
  }
}

function sendOptions(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}

const lockHint =
  'make the bucket with an object lock at a server that has it, and give the right s3:GetObjectRetention, or leave objectLock out';

/** The most that Amazon gives at once. */
const pageSize = 1000;
