import { z } from 'zod';
import { canonicalHost, folderLocation, userSchema } from '../remote/remote-folder.ts';
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
const maxPasswordLength = 1024;

/** The port that servers of FTP over TLS from the first byte listen at. */
const implicitTlsPort = 990;
const plainPort = 21;

export const ftpOptionsSchema = z.strictObject({
  type: z.literal('ftp'),
  host: hostSchema,
  /** 21 when not given, 990 with implicit TLS. */
  port: portSchema.optional(),
  user: userSchema,
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

/** See folderLocation. */
export function ftpLocation(options: FtpOptions): string {
  return folderLocation('ftp', ftpAddress(options), options.user, options.path);
}

export function ftpAddress({ host, port, tls }: FtpOptions): RemoteAddress {
  return { host: canonicalHost(host), port: port ?? (tls === 'implicit' ? implicitTlsPort : plainPort) };
}
