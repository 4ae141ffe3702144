import { isIP } from 'node:net';
import { z } from 'zod';
import { addressOfEndpoint, endpointSchema, httpOptionsShape, prefixSchema, type RemoteAddress } from '../remote/remote-options.ts';

/**
 * A bucket of Amazon S3 or of a server that speaks the same, as a config says it:
 * `{ "type": "s3", "region": "eu-central-1", "bucket": "backups", "prefix": "shop" }`. Nothing here touches the network.
 */

/** Names that every server takes. */
const bucketPattern = /^(?=.{3,63}$)(?!(?:\d+\.){3}\d+$)[a-z0-9](?:[a-z0-9-]|\.(?!\.))*[a-z0-9]$/u;
/** Names that mean something else to Amazon than a bucket: other hosts, other signatures. */
const otherThingsPattern = /--(?:x|xa|op|ol)-s3$/u;
const regionPattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/iu;
/** A key's id, its ARN or an alias of it. */
const kmsKeyPattern = /^[\w:/.-]{1,2048}$/u;
/** A hundred years: Amazon's limit. */
const maxLockDays = 36_500;

/** Classes whose objects can be read at once; what lies in an archive has to be ordered first, and no backup can wait for that. */
const storageClasses = ['STANDARD', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR', 'REDUCED_REDUNDANCY'] as const;

export const s3OptionsSchema = z
  .strictObject({
    type: z.literal('s3'),
    /** Amazon's of the region when left out. */
    endpoint: endpointSchema.optional(),
    region: z.string().regex(regionPattern, 'must be a region such as eu-central-1'),
    bucket: z
      .string()
      .regex(bucketPattern, 'must be 3 to 63 of a-z, 0-9, - and .')
      .refine((name) => !otherThingsPattern.test(name), 'must be an ordinary bucket'),
    prefix: prefixSchema.optional(),
    /** Whether the bucket stands in the path and not before the host's name; when left out: only with an endpoint. */
    pathStyle: z.boolean().optional(),
    /** For packs, the objects below data/; all others are small and read often. */
    storageClass: z.enum(storageClasses).optional(),
    /** What the server seals objects with, beside what the repository does itself; the bucket's own setting when left out. */
    serverSideEncryption: z.enum(['AES256', 'aws:kms']).optional(),
    kmsKeyId: z.string().regex(kmsKeyPattern, 'must be the id or the ARN of a key').optional(),
    /**
     * Objects cannot be removed by anybody for so long after they were written; locks of the repository can. With `renew` cleanups lock
     * anew what is in use and has less than half of its days left.
     */
    objectLock: z
      .strictObject({
        mode: z.enum(['compliance', 'governance']),
        days: z.int().min(1).max(maxLockDays),
        renew: z.boolean().optional(),
      })
      .optional(),
    ...httpOptionsShape,
  })
  .refine(({ serverSideEncryption, kmsKeyId }) => kmsKeyId === undefined || serverSideEncryption === 'aws:kms', {
    path: ['kmsKeyId'],
    message: 'goes with serverSideEncryption aws:kms only',
  });

export type S3Options = z.infer<typeof s3OptionsSchema>;

/** Amazon's keys are shorter than that; session tokens have no length that anybody promises. */
const maxKeyLength = 512;
const maxTokenLength = 16_384;
const secretSchema = (maxLength: number) =>
  z
    .string()
    .min(1)
    .max(maxLength)
    .regex(/^[\x21-\x7e]+$/u, 'must be printable, without blanks');

/** Write-only. The second form uses the worker's own rights and is refused unless the operator allows that. */
export const s3CredentialsSchema = z.union([
  z.strictObject({
    accessKeyId: secretSchema(maxKeyLength),
    secretAccessKey: secretSchema(maxKeyLength),
    sessionToken: secretSchema(maxTokenLength).optional(),
  }),
  z.strictObject({ from: z.enum(['environment', 'instance_role']) }),
]);

export type S3Credentials = z.infer<typeof s3CredentialsSchema>;

/** Where requests go: the endpoint given, or Amazon's. */
export function s3Endpoint({ endpoint, region }: Pick<S3Options, 'endpoint' | 'region'>): string {
  return endpoint ?? `https://s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}

/** A name with dots fits no certificate as a host, and an address has no names before it. */
export function usesPathStyle(options: Pick<S3Options, 'endpoint' | 'region' | 'bucket' | 'pathStyle'>): boolean {
  const { host } = addressOfEndpoint(s3Endpoint(options));
  return (options.pathStyle ?? options.endpoint !== undefined) || options.bucket.includes('.') || isIP(host) !== 0;
}

/** The server that requests go to, with the bucket's name before it where that is how it is called. */
export function s3Address(options: S3Options): RemoteAddress {
  const { host, port } = addressOfEndpoint(s3Endpoint(options));
  return { host: usesPathStyle(options) ? host : `${options.bucket}.${host}`, port };
}

/** Amazon's hosts, which all lead to the same buckets: regional, dualstack, FIPS and accelerated ones. */
const amazonHostPattern = /^s3(?:[.-][a-z0-9-]+)*\.amazonaws\.com(\.cn)?$/u;
/** Its closed partitions have bucket names of their own. */
const closedPartitionPattern = /[.-]us-gov-/u;

/** `s3:https://host/bucket/prefix`, as restic writes it. A bucket of Amazon is the same by whatever host and region it is called. */
export function s3Location(options: Pick<S3Options, 'endpoint' | 'region' | 'bucket' | 'prefix'>): string {
  const { protocol, hostname, port } = new URL(s3Endpoint(options));
  const host = hostname.replace(/\.$/u, '');
  const amazon = closedPartitionPattern.test(host) ? null : amazonHostPattern.exec(host);
  const origin = amazon === null ? `${protocol}//${host}${port === '' ? '' : `:${port}`}` : `https://s3.amazonaws.com${amazon[1] ?? ''}`;
  return `s3:${origin}/${options.bucket}${options.prefix === undefined ? '' : `/${options.prefix}`}`;
}
