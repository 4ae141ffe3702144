import { z } from 'zod';
import { mostConnections } from './adapter-settings.ts';

/** Fields that storages at a server have in common, as a config says them. Nothing here is a secret, and nothing touches the network. */

const maxHostLength = 253;
const maxPathLength = 1024;
const maxCertificateLength = 65_536;
/** One byte a second would never end; a limit that a lock's renewal can live with. */
const leastBytesPerSecond = 16_384;

/** A name or an address, an IPv6 one without its brackets. */
export const hostSchema = z
  .string()
  .max(maxHostLength)
  .regex(/^(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?|[0-9a-f]*:[0-9a-f:.]*:[0-9a-f:.]*)$/iu, 'must be a host name or an address');

export const portSchema = z.int().min(1).max(65_535);

/** A folder in a bucket or container: parts with slashes between them, none `.` or `..`, no slash at either end. */
export const prefixSchema = z
  .string()
  .max(maxPathLength)
  .regex(
    /^(?!\.{1,2}(?:\/|$))[\w.@+=-]+(?:\/(?!\.{1,2}(?:\/|$))[\w.@+=-]+)*$/u,
    'must be parts of letters, digits and . _ - @ + = with slashes between them',
  );

/** A folder at a server; absolute, or below the folder in which a session begins. No part is `.` or `..`. */
export const remotePathSchema = z
  .string()
  .min(1)
  .max(maxPathLength)
  // oxlint-disable-next-line no-control-regex -- line ends would end a command of FTP
  .regex(/^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[^\0-\x1f\x7f\\]+$/u, 'must be a path without . and .. in it, and without control characters');

/** Where requests go: `https://host`, `http://host:port`; no path, no account. */
export const endpointSchema = z
  .string()
  .max(maxHostLength + 16)
  .refine(isOrigin, 'must be https://host or https://host:port (http is possible), without path and account');

/** PEM. Trusted instead of the system's authorities. */
export const caCertificateSchema = z
  .string()
  .max(maxCertificateLength)
  .regex(/^\s*-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----\s*$/u, 'must be certificates in PEM');

/** Of every kind, folders too. */
export const everyOptionsShape = {
  /** Nothing but locks is ever deleted, and cleanups are refused. */
  appendOnly: z.boolean().optional(),
};

/** Of every kind at a server: how many connections, and how fast. */
export const remoteOptionsShape = {
  ...everyOptionsShape,
  maxConnections: z.int().min(1).max(mostConnections).optional(),
  uploadBytesPerSecond: z.int().min(leastBytesPerSecond).optional(),
  downloadBytesPerSecond: z.int().min(leastBytesPerSecond).optional(),
};

/** Of kinds that speak HTTP. */
export const httpOptionsShape = {
  ...remoteOptionsShape,
  caCertificate: caCertificateSchema.optional(),
  /** `http://host:port` of a proxy that takes CONNECT. */
  proxy: endpointSchema.optional(),
};

/** A server that options name, for the list of hosts that a request may name. */
export interface RemoteAddress {
  readonly host: string;
  readonly port: number;
}

/** Of an endpoint that endpointSchema let through. */
export function addressOfEndpoint(endpoint: string): RemoteAddress {
  const { protocol, hostname, port } = new URL(endpoint);
  const host = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return { host, port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port) };
}

function isOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password, pathname, search, hash } = new URL(text);
  if (protocol !== 'https:' && protocol !== 'http:') return false;
  return hostname !== '' && `${username}${password}${search}${hash}` === '' && pathname === '/' && !/[@?#]/u.test(text);
}
