import { z } from 'zod';
import {
  caCertificateSchema,
  hostSchema,
  portSchema,
  remoteOptionsShape,
  remotePathSchema,
  type RemoteAddress,
} from '../remote/remote-options.ts';

/**
 * A folder at an FTP server as a config names it, and what lets us in. Nothing here touches the network.
 *
 *     { "type": "ftp", "host": "backup.example.com", "user": "holdfast", "path": "repositories/a" }
 */
const maxUserLength = 256;
const maxPasswordLength = 1024;

/** The port that servers of FTP over TLS from the first byte listen at. */
const implicitTlsPort = 990;
const plainPort = 21;

/** Stands for the folder in which a session begins; a part of a path with this name is written otherwise. */
const homePart = '~';

export const ftpOptionsSchema = z.strictObject({
  type: z.literal('ftp'),
  host: hostSchema,
  /** 21 when not given, 990 with implicit TLS. */
  port: portSchema.optional(),
  user: z
    .string()
    .min(1)
    .max(maxUserLength)
    // oxlint-disable-next-line no-control-regex -- line ends would end a command of FTP
    .regex(/^[^\0-\x1f\x7f]+$/u, 'must be without control characters'),
  /** The repository's folder; made by the first put when it is not there. */
  path: remotePathSchema,
  /** Explicit when not given. `none` sends the password and all names as they are: whoever wants that says so. */
  tls: z.enum(['explicit', 'implicit', 'none']).optional(),
  caCertificate: caCertificateSchema.optional(),
  /**
   * How an upload is checked before it counts: its size as the server gives it, or every byte of it. FTP has no checksum. `size` over
   * TLS, which seals every byte on the way; `read_back` without TLS.
   */
  verifyUploads: z.enum(['size', 'read_back']).optional(),
  ...remoteOptionsShape,
});

export type FtpOptions = z.infer<typeof ftpOptionsSchema>;

export const ftpCredentialsSchema = z.strictObject({
  password: z
    .string()
    .min(1)
    .max(maxPasswordLength)
    // oxlint-disable-next-line no-control-regex -- line ends would end a command of FTP
    .regex(/^[^\0-\x1f\x7f]+$/u, 'must be without control characters'),
});

export type FtpCredentials = z.infer<typeof ftpCredentialsSchema>;

/**
 * `ftp:user@host:port/path`, and `ftp:user@host:port/~/path` for one below the folder in which the user's session begins. A server may
 * show each user another tree, so two users' places are never the same.
 */
export function ftpLocation(options: FtpOptions): string {
  const { host, port } = ftpAddress(options);
  const parts = options.path.split('/').filter((part) => part !== '');
  const escaped = parts.map((part) => part.replaceAll('%', '%25').replace(/^~$/u, '%7E'));
  const path = [...(options.path.startsWith('/') ? [] : [homePart]), ...escaped].map((part) => `/${part}`).join('');
  return `ftp:${encodeURIComponent(options.user)}@${host.includes(':') ? `[${host}]` : host}:${String(port)}${path}`;
}

export function ftpAddress({ host, port, tls }: FtpOptions): RemoteAddress {
  return { host: canonicalHost(host), port: port ?? (tls === 'implicit' ? implicitTlsPort : plainPort) };
}

/** One spelling for one host: lower case, addresses in their short form, no dot at the end. */
function canonicalHost(host: string): string {
  const url = `ftp://${host.includes(':') ? `[${host}]` : host}/`;
  const hostname = URL.canParse(url) ? new URL(url).hostname : host;
  return hostname
    .toLowerCase()
    .replace(/^\[|\]$/gu, '')
    .replace(/\.$/u, '');
}
