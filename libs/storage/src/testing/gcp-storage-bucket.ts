import { createHash } from 'node:crypto';
import type { GcpAccount } from './gcp-storage-accounts.ts';
import { crc32cOf, Refusal } from './gcp-storage-wire.ts';

/** The one bucket of the stand-in for Google Cloud Storage. It has no old versions and no soft deletion, and takes retention times. */
export interface StoredGcpObject {
  readonly name: string;
  readonly bytes: Buffer;
  readonly generation: string;
  readonly timeCreated: string;
  readonly md5Hash: string;
  readonly crc32c: string;
  readonly contentType: string;
  readonly storageClass: string;
  readonly kmsKeyName: string | undefined;
  readonly retention: { readonly mode: string; readonly retainUntilTime: string } | undefined;
}

interface InsertOptions {
  readonly ifGenerationMatch: string | null;
  readonly kmsKeyName: string | null;
  /** Throws where replacing is not allowed. */
  readonly mayReplace: () => void;
}

const metadataFields = ['name', 'contentType', 'md5Hash', 'crc32c', 'storageClass', 'retention', 'metadata', 'bucket'];
const storageClasses = ['STANDARD', 'NEARLINE', 'COLDLINE', 'ARCHIVE'];
const mostListed = 1000;

export class GcpBucket {
  readonly name: string;
  readonly objects = new Map<string, StoredGcpObject>();
  /** As of a bucket that was made with object retention enabled. */
  takesRetention = true;
  #lastGeneration = Date.now() * 1000;

  constructor(name: string) {
    this.name = name;
  }

  assertName(name: string): void {
    if (name !== this.name) throw new Refusal(404, 'notFound', 'The specified bucket does not exist.');
  }

  insert(name: unknown, metadata: Record<string, unknown>, bytes: Buffer, options: InsertOptions): StoredGcpObject {
    for (const field of Object.keys(metadata)) {
      if (!metadataFields.includes(field)) throw new Refusal(400, 'invalid', `Unknown field ${field}`);
    }
    if (typeof name !== 'string' || name === '' || Buffer.byteLength(name) > 1024 || /[\r\n]/u.test(name)) {
      throw new Refusal(400, 'required', 'Required');
    }
    const md5Hash = createHash('md5').update(bytes).digest('base64');
    assertChecksum('MD5', metadata['md5Hash'], () => md5Hash);
    assertChecksum('CRC32C', metadata['crc32c'], () => crc32cOf(bytes));
    const storageClass = metadata['storageClass'] ?? 'STANDARD';
    if (typeof storageClass !== 'string' || !storageClasses.includes(storageClass)) throw new Refusal(400, 'invalid', 'Invalid argument.');
    const retention = metadata['retention'] === undefined ? undefined : this.#retentionOf(metadata['retention']);
    const { contentType = 'application/octet-stream' } = metadata as { contentType?: string };
    const existing = this.objects.get(name);
    assertGeneration(options.ifGenerationMatch, existing);
    if (existing !== undefined) {
      options.mayReplace();
      assertNotRetained(existing);
    }
    this.#lastGeneration += 1;
    let crc32c: string | undefined;
    const object: StoredGcpObject = {
      name,
      bytes,
      generation: String(this.#lastGeneration),
      timeCreated: new Date().toISOString(),
      md5Hash,
      // Only some readers ask for it, and it takes a while.
      get crc32c() {
        return (crc32c ??= crc32cOf(bytes));
      },
      contentType,
      storageClass,
      kmsKeyName: options.kmsKeyName ?? undefined,
      retention,
    };
    this.objects.set(name, object);
    return object;
  }

  /** 404 for an object that is not there, to those who may know: 403 to others. */
  find(name: string, account: GcpAccount): StoredGcpObject {
    const object = this.objects.get(name);
    if (object !== undefined) return object;
    account.assertMay('storage.objects.list', 'to the Google Cloud Storage bucket');
    throw new Refusal(404, 'notFound', `No such object: ${this.name}/${name}`);
  }

  remove(name: string, ifGenerationMatch: string | null, account: GcpAccount): void {
    const object = this.find(name, account);
    assertGeneration(ifGenerationMatch, object);
    assertNotRetained(object);
    this.objects.delete(name);
  }

  list(query: URLSearchParams): object {
    const prefix = query.get('prefix') ?? '';
    const delimiter = query.get('delimiter') ?? '';
    const limit = Math.min(Number(query.get('maxResults') ?? mostListed) || mostListed, mostListed);
    const after = afterOf(query.get('pageToken'));
    const items: object[] = [];
    const prefixes = new Set<string>();
    let last = '';
    for (const name of [...this.objects.keys()].toSorted(byUtf8)) {
      if (!name.startsWith(prefix)) continue;
      const cut = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length);
      const entry = cut < 0 ? name : name.slice(0, cut + delimiter.length);
      if (after !== undefined && byUtf8(entry, after) <= 0) continue;
      if (prefixes.has(entry)) continue;
      if (items.length + prefixes.size === limit) {
        return { kind: 'storage#objects', nextPageToken: Buffer.from(last).toString('base64'), prefixes: [...prefixes], items };
      }
      if (cut < 0) items.push(this.resourceOf(this.objects.get(name) as StoredGcpObject));
      else prefixes.add(entry);
      last = entry;
    }
    // As the service does, lists of nothing are left out.
    return {
      kind: 'storage#objects',
      ...(prefixes.size === 0 ? {} : { prefixes: [...prefixes] }),
      ...(items.length === 0 ? {} : { items }),
    };
  }

  resourceOf(object: StoredGcpObject): object {
    const { name, generation, timeCreated, contentType, storageClass, md5Hash, kmsKeyName, retention } = object;
    return {
      kind: 'storage#object',
      id: `${this.name}/${name}/${generation}`,
      name,
      bucket: this.name,
      generation,
      metageneration: '1',
      contentType,
      storageClass,
      size: String(object.bytes.byteLength),
      md5Hash,
      get crc32c() {
        return object.crc32c;
      },
      timeCreated,
      // A second later, as after a change of metadata: who takes it for the time of writing is found out.
      updated: new Date(Date.parse(timeCreated) + 1000).toISOString(),
      ...(kmsKeyName === undefined ? {} : { kmsKeyName: `${kmsKeyName}/cryptoKeyVersions/1` }),
      ...(retention === undefined ? {} : { retention }),
    };
  }

  #retentionOf(value: unknown): { mode: string; retainUntilTime: string } {
    if (!this.takesRetention) throw new Refusal(400, 'invalid', 'Object retention is not enabled for the bucket.');
    const { mode, retainUntilTime } = value as { mode?: unknown; retainUntilTime?: unknown };
    const isMode = mode === 'Locked' || mode === 'Unlocked';
    if (!isMode || typeof retainUntilTime !== 'string' || !(Date.parse(retainUntilTime) > Date.now())) {
      throw new Refusal(400, 'invalid', 'Invalid argument.');
    }
    return { mode, retainUntilTime };
  }
}

function assertChecksum(kind: string, provided: unknown, calculated: () => string): void {
  if (provided === undefined || provided === calculated()) return;
  throw new Refusal(
    400,
    'invalid',
    `Provided ${kind} hash ${JSON.stringify(provided)} doesn't match calculated ${kind} hash "${calculated()}".`,
  );
}

function assertGeneration(wanted: string | null, object: StoredGcpObject | undefined): void {
  if (wanted === null) return;
  if (!/^\d+$/u.test(wanted)) throw new Refusal(400, 'invalid', `Invalid value for ifGenerationMatch: ${wanted}`);
  if (wanted === (object?.generation ?? '0')) return;
  throw new Refusal(412, 'conditionNotMet', 'At least one of the pre-conditions you specified did not hold.');
}

function assertNotRetained({ name, retention }: StoredGcpObject): void {
  if (retention === undefined || Date.parse(retention.retainUntilTime) < Date.now()) return;
  throw new Refusal(403, 'retentionPolicyNotMet', `Object '${name}' is subject to object retention and cannot be deleted or replaced.`);
}

function afterOf(pageToken: string | null): string | undefined {
  if (pageToken === null || pageToken === '') return undefined;
  const after = Buffer.from(pageToken, 'base64').toString();
  if (after === '' || Buffer.from(after).toString('base64') !== pageToken) throw new Refusal(400, 'invalid', 'Invalid value for pageToken');
  return after;
}

function byUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
