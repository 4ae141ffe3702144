import { z } from 'zod';
import { addressOfEndpoint, endpointSchema, httpOptionsShape, prefixSchema, type RemoteAddress } from '../remote/remote-options.ts';

/**
 * A container of Azure Blob Storage as a config names it, and what lets us in: a key of the account, a shared access signature (SAS), an
 * application of Entra ID, or the machine's own identity. Nothing here touches the network.
 *
 *     { "type": "azure_blob", "account": "mybackups", "container": "holdfast", "prefix": "databases/a" }
 */

/** A blob's name has 1024 characters at most; ours need up to 75 below the prefix. */
const maxPrefixLength = 900;
const maxEndpointLength = 300;
/** The service takes 400 years at most. */
const maxImmutabilityDays = 146_000;
/** Azure's are 88 characters long; an emulator may be given others. */
const maxAccountKeyLength = 256;
/** Entra ID makes them with 40 characters. */
const maxClientSecretLength = 256;
/** Those that are signed for a user have some 600. */
const maxSasTokenLength = 4096;

const endpointPattern = /^(?<origin>https?:\/\/[^/?#]+)(?<path>\/[a-z0-9]{3,24})?\/?$/iu;

export const azureBlobOptionsSchema = z.strictObject({
  type: z.literal('azure_blob'),
  account: z.string().regex(/^[a-z0-9]{3,24}$/u, 'must be the name of a storage account: 3 to 24 lower-case letters and digits'),
  container: z
    .string()
    .regex(
      /^(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/u,
      'must be the name of a container: 3 to 63 lower-case letters, digits and single dashes',
    ),
  /** A folder in the container; the container's top when not given. */
  prefix: prefixSchema
    .max(maxPrefixLength)
    // Names whose parts end with a dot lead to the same blob as those without.
    .regex(/^(?!.*\.(?:\/|$))/u, 'must not have parts that end with a dot')
    .optional(),
  /**
   * Another address of the service, such as that of another cloud or of a private link; https://<account>.blob.core.windows.net when not
   * given. Azurite and other emulators have the account in the path: http://host:10000/devstoreaccount1.
   */
  endpoint: z
    .string()
    .max(maxEndpointLength)
    .refine(isEndpoint, 'must be https://host or https://host:port (http is possible), with nothing after it but an account of an emulator')
    .optional(),
  /** Of every object but the locks, which live for minutes; the account's own when not given. Archived blobs cannot be read: it is no choice. */
  accessTier: z.enum(['hot', 'cool', 'cold']).optional(),
  /** Every object but the locks is kept so long by the service, whoever deletes it. Nobody can shorten a locked time. */
  immutability: z.strictObject({ days: z.int().min(1).max(maxImmutabilityDays), mode: z.enum(['unlocked', 'locked']) }).optional(),
  ...httpOptionsShape,
});

export type AzureBlobOptions = z.infer<typeof azureBlobOptionsSchema>;

/** An application of Entra ID and its secret. */
const entraCredentialsSchema = z.strictObject({
  tenantId: z.string().regex(/^(?!\.)[A-Za-z0-9.-]{3,253}$/u, 'must be the id of a tenant, or one of its domains'),
  clientId: z.guid('must be the id of an application'),
  clientSecret: z
    .string()
    .max(maxClientSecretLength)
    .regex(/^[!-~]+$/u, 'must be the value of a client secret'),
  /** Where tokens come from, such as https://login.microsoftonline.us; that of the endpoint's cloud when not given. */
  authority: endpointSchema.optional(),
});
export type EntraCredentials = z.infer<typeof entraCredentialsSchema>;

/** The identity of the machine that the worker runs on; `clientId` says which one where it has several. */
const machineCredentialsSchema = z.strictObject({
  from: z.literal('instance_role'),
  clientId: z.guid('must be the client id of an identity').optional(),
});
export type MachineCredentials = z.infer<typeof machineCredentialsSchema>;

export const azureBlobCredentialsSchema = z.union([
  entraCredentialsSchema,
  machineCredentialsSchema,
  z.strictObject({
    accountKey: z
      .string()
      .max(maxAccountKeyLength)
      .regex(/^(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/u, 'must be a key of the account, in base64'),
  }),
  /** As the portal gives it, with or without the question mark. */
  z.strictObject({
    sasToken: z
      .string()
      .max(maxSasTokenLength)
      .regex(/^\??[\w.~%:=&+/,-]+$/u, 'must be a shared access signature, such as sv=…&sp=…&sig=…')
      .refine(hasSasFieldsOnly, 'must have a sig, and no fields but those of a shared access signature'),
  }),
]);

export type AzureBlobCredentials = z.infer<typeof azureBlobCredentialsSchema>;

/** Where requests go, without a slash at its end: equal for endpoints that are written differently and mean the same. */
export function azureBlobEndpoint({ endpoint, account }: Pick<AzureBlobOptions, 'endpoint' | 'account'>): string {
  const { protocol, hostname, port, pathname } = new URL(endpoint ?? `https://${account}.blob.core.windows.net`);
  const host = hostname.replace(/\.$/u, '');
  return `${protocol}//${host}${port === '' ? '' : `:${port}`}${pathname.replace(/\/$/u, '')}`;
}

/** The same for two options that lead to the same objects: `azure_blob:https://mybackups.blob.core.windows.net/holdfast/databases/a`. */
export function azureBlobLocation(options: AzureBlobOptions): string {
  const { container, prefix } = options;
  return `azure_blob:${azureBlobEndpoint(options)}/${container}${prefix === undefined ? '' : `/${prefix}`}`;
}

export function azureBlobAddress(options: AzureBlobOptions): RemoteAddress {
  return addressOfEndpoint(azureBlobEndpoint(options));
}

const entraHosts: Readonly<Record<string, string>> = {
  'core.windows.net': 'login.microsoftonline.com',
  'core.usgovcloudapi.net': 'login.microsoftonline.us',
  'core.chinacloudapi.cn': 'login.partner.microsoftonline.cn',
};

/**
 * Where a secret is sent for tokens; undefined for a place that is neither Microsoft's nor at the host of the endpoint, which whoever may
 * write options could choose. Private endpoints of a cloud have names of their own: then it is the authority of the public cloud.
 */
export function entraAuthority(
  { authority }: Pick<EntraCredentials, 'authority'>,
  options: Pick<AzureBlobOptions, 'endpoint' | 'account'>,
): { readonly url: URL; readonly isEndpoint: boolean } | undefined {
  const endpoint = new URL(azureBlobEndpoint(options));
  const cloud = Object.keys(entraHosts).find((suffix) => endpoint.hostname.endsWith(`.${suffix}`)) ?? 'core.windows.net';
  const url = new URL(authority ?? `https://${entraHosts[cloud]}`);
  const isMicrosofts = url.protocol === 'https:' && Object.values(entraHosts).includes(url.host);
  const isAtEndpoint = url.protocol === endpoint.protocol && url.hostname === endpoint.hostname;
  return isMicrosofts || isAtEndpoint ? { url, isEndpoint: !isMicrosofts } : undefined;
}

function isEndpoint(text: string): boolean {
  const origin = endpointPattern.exec(text)?.groups?.['origin'];
  return origin !== undefined && endpointSchema.safeParse(origin).success;
}

/** Its fields become part of every request's address: none must ask for another blob's version, or for anything else. */
function hasSasFieldsOnly(text: string): boolean {
  const fields = new URLSearchParams(text.replace(/^\?/u, ''));
  const names = [...fields.keys()];
  return names.every((name) => /^s[a-z]{1,6}$/u.test(name)) && new Set(names).size === names.length && (fields.get('sig') ?? '') !== '';
}
