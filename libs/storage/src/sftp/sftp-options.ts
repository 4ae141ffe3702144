import { z } from 'zod';
import { hostSchema, portSchema, remoteOptionsShape, remotePathSchema, type RemoteAddress } from '../remote/remote-options.ts';
import { hostKeySchema } from './sftp-host-key.ts';

/**
 * A folder at an SSH server as a config names it, and what lets us in. Nothing here touches the network.
 *
 *     { "type": "sftp", "host": "backup.example.com", "user": "holdfast", "path": "/repositories/a", "hostKey": "ssh-ed25519 AAAA…" }
 */
const maxUserLength = 256;
const maxPasswordLength = 1024;
/** An RSA key of 16384 bits in PEM has 13,000. */
const maxPrivateKeyLength = 32_768;
/** One for each type of key, twice while they are being exchanged. */
const maxHostKeys = 16;
const sshPort = 22;
/** Stands for the folder in which a session begins; a part of a path with this name is written otherwise. */
const homePart = '~';

export const sftpOptionsSchema = z.strictObject({
  type: z.literal('sftp'),
  host: hostSchema,
  /** 22 when not given. */
  port: portSchema.optional(),
  user: z
    .string()
    .min(1)
    .max(maxUserLength)
    // oxlint-disable-next-line no-control-regex -- no name of a user has them, and they would garble a log
    .regex(/^[^\0-\x1f\x7f]+$/u, 'must be without control characters'),
  /** The repository's folder; made by the first put when it is not there. */
  path: remotePathSchema,
  /** By what the server is known. There is no way to trust whoever answers first. */
  hostKey: z.union([hostKeySchema, z.array(hostKeySchema).min(1).max(maxHostKeys)]),
  ...remoteOptionsShape,
});

export type SftpOptions = z.infer<typeof sftpOptionsSchema>;

export const sftpCredentialsSchema = z.union([
  z.strictObject({ password: z.string().min(1).max(maxPasswordLength) }),
  z.strictObject({
    /** As `ssh-keygen` writes it, or PEM. */
    privateKey: z.string().min(1).max(maxPrivateKeyLength),
    passphrase: z.string().min(1).max(maxPasswordLength).optional(),
  }),
]);

export type SftpCredentials = z.infer<typeof sftpCredentialsSchema>;

/**
 * `sftp:user@host:port/path`, and `sftp:user@host:port/~/path` for one below the folder in which the user's session begins. A server may
 * show each user another tree, so two users' places are never the same.
 */
export function sftpLocation(options: SftpOptions): string {
  const { host, port } = sftpAddress(options);
  const parts = options.path.split('/').filter((part) => part !== '');
  const escaped = parts.map((part) => part.replaceAll('%', '%25').replace(/^~$/u, '%7E'));
  const path = [...(options.path.startsWith('/') ? [] : [homePart]), ...escaped].map((part) => `/${part}`).join('');
  return `sftp:${encodeURIComponent(options.user)}@${host.includes(':') ? `[${host}]` : host}:${String(port)}${path}`;
}

export function sftpAddress({ host, port }: SftpOptions): RemoteAddress {
  return { host: canonicalHost(host), port: port ?? sshPort };
}

/** One spelling for one host: lower case, addresses in their short form, no dot at the end. */
function canonicalHost(host: string): string {
  const url = `http://${host.includes(':') ? `[${host}]` : host}/`;
  const hostname = URL.canParse(url) ? new URL(url).hostname : host;
  return hostname
    .toLowerCase()
    .replaceAll(/^\[|\]$/gu, '')
    .replace(/\.$/u, '');
}
