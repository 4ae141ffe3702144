import { z } from 'zod';
import { addressOfEndpoint, endpointSchema, httpOptionsShape, prefixSchema, type RemoteAddress } from '../remote/remote-options.ts';

/**
 * A bucket of Google Cloud Storage as a config names it, and what a service account signs with. Nothing here touches the network.
 *
 *     { "type": "gcp_storage", "bucket": "backups-of-mine", "prefix": "databases/a" }
 */
export const defaultGcpEndpoint = 'https://storage.googleapis.com';
const defaultTokenUri = 'https://oauth2.googleapis.com/token';
const tokenHost = 'oauth2.googleapis.com';
const googleHostPattern = /(?:^|\.)googleapis\.com\.?$/u;

/** Names with dots in them may be longer than the 63 characters of the others. */
const maxBucketLength = 222;
/** The service takes a hundred years at most. */
const maxRetentionDays = 36_500;
const maxKeyNameLength = 1024;
const maxEmailLength = 320;
/** A key of 8192 bits in PEM has half of it. */
const maxPrivateKeyLength = 16_384;
/** The file that Google hands out is 2.4 kB long. */
const maxKeyFileLength = 65_536;

export const gcpStorageOptionsSchema = z.strictObject({
  type: z.literal('gcp_storage'),
  bucket: z
    .string()
    .min(3)
    .max(maxBucketLength)
    .regex(/^[a-z0-9][a-z0-9_.-]*[a-z0-9]$/u, 'must be the name of a bucket: lower-case letters, digits and . _ -'),
  /** A folder in the bucket; the bucket's top when not given. */
  prefix: prefixSchema.optional(),
  /** Another address of the service, or another server of its JSON API; https://storage.googleapis.com when not given. */
  endpoint: endpointSchema.optional(),
  /** Of packs, nearly all of the bytes; the rest is read often and has the bucket's own, as packs have when it is not given. */
  storageClass: z.enum(['STANDARD', 'NEARLINE', 'COLDLINE', 'ARCHIVE']).optional(),
  /** Nothing but locks can be deleted for so long after it was written. Nobody can shorten a `locked` time. */
  retention: z.strictObject({ days: z.int().min(1).max(maxRetentionDays), mode: z.enum(['unlocked', 'locked']) }).optional(),
  /** A key of Cloud KMS that objects are sealed with at the service; the bucket's own when not given. */
  kmsKeyName: z
    .string()
    .max(maxKeyNameLength)
    .regex(
      /^projects\/[\w.:-]+\/locations\/[\w-]+\/keyRings\/[\w-]+\/cryptoKeys\/[\w-]+$/u,
      'must be projects/…/locations/…/keyRings/…/cryptoKeys/…',
    )
    .optional(),
  ...httpOptionsShape,
});

export type GcpStorageOptions = z.infer<typeof gcpStorageOptionsSchema>;

/**
 * What is needed of the JSON file that Google hands out for a service account; the rest of it is dropped. Files of other types, which
 * name addresses to fetch tokens from and programs to run, are refused.
 */
const serviceAccountKeySchema = z.object({
  type: z.literal('service_account').optional(),
  client_email: z
    .string()
    .max(maxEmailLength)
    .regex(/^[^\s@]+@[^\s@]+$/u, 'must be the address of a service account'),
  private_key: z
    .string()
    .max(maxPrivateKeyLength)
    .regex(/^\s*-----BEGIN (?:RSA )?PRIVATE KEY-----[\s\S]+-----END (?:RSA )?PRIVATE KEY-----\s*$/u, 'must be a private key in PEM'),
  private_key_id: z
    .string()
    .max(128)
    .regex(/^[\w.-]+$/u)
    .optional(),
  token_uri: z
    .url({ protocol: /^https?$/u })
    .max(2048)
    .default(defaultTokenUri),
});

export type GcpServiceAccountKey = z.infer<typeof serviceAccountKeySchema>;

const keyFileSchema = z
  .string()
  .max(maxKeyFileLength)
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      // Without the parser's words: they quote the text.
      context.addIssue({ code: 'custom', message: 'must be the JSON file of a service account' });
      return z.NEVER;
    }
  })
  .pipe(serviceAccountKeySchema);

export const gcpStorageCredentialsSchema = z.union([
  /** The JSON file of a service account's key, as text or as an object. */
  z.strictObject({ serviceAccountKey: z.union([serviceAccountKeySchema, keyFileSchema]) }),
  /** The service account of the machine that the worker runs on; only where the operator allows it. */
  z.strictObject({ from: z.literal('instance_role') }),
]);

export type GcpStorageCredentials = z.infer<typeof gcpStorageCredentialsSchema>;

/** The same for two options that lead to the same objects: names of buckets are one space for all of Google's addresses. */
export function gcpStorageLocation({ endpoint = defaultGcpEndpoint, bucket, prefix }: GcpStorageOptions): string {
  const { origin, hostname } = new URL(endpoint);
  const place = googleHostPattern.test(hostname) ? defaultGcpEndpoint : origin;
  return `gcp_storage:${place}/${bucket}${prefix === undefined ? '' : `/${prefix}`}`;
}

export function gcpStorageAddress({ endpoint = defaultGcpEndpoint }: GcpStorageOptions): RemoteAddress {
  return addressOfEndpoint(endpoint);
}

/**
 * Where a key's tokens may be asked for: at Google's own token server, or at the very origin that the options name. Anything else is
 * undefined: a key must not make the worker send requests to places that nobody allowed.
 */
export function gcpTokenUrl(key: GcpServiceAccountKey, endpoint: string = defaultGcpEndpoint): URL | undefined {
  const url = new URL(key.token_uri);
  if (`${url.username}${url.password}${url.search}${url.hash}` !== '') return undefined;
  const isGoogles = url.protocol === 'https:' && url.host === tokenHost;
  return isGoogles || url.origin === new URL(endpoint).origin ? url : undefined;
}
