import { z } from 'zod';
import { canonicalHost, folderLocation, userSchema } from '../remote/remote-folder.ts';
import { hostSchema, portSchema, remoteOptionsShape, remotePathSchema, type RemoteAddress } from '../remote/remote-options.ts';
import { hostKeySchema } from './sftp-host-key.ts';

/**
 * A folder at an SSH server as a config names it, and what lets us in. Nothing here touches the network.
 *
 *     { "type": "sftp", "host": "backup.example.com", "user": "holdfast", "path": "/repositories/a", "hostKey": "ssh-ed25519 AAAA…" }
 */
const maxPasswordLength = 1024;
/** An RSA key of 16384 bits in PEM has 13,000. */
const maxPrivateKeyLength = 32_768;
/** One for each type of key, twice while they are being exchanged. */
const maxHostKeys = 16;
const sshPort = 22;
export const sftpOptionsSchema = z.strictObject({
  type: z.literal('sftp'),
  host: hostSchema,
  /** 22 when not given. */
  port: portSchema.optional(),
  user: userSchema,
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

/** See folderLocation. */
export function sftpLocation(options: SftpOptions): string {
  return folderLocation('sftp', sftpAddress(options), options.user, options.path);
}

export function sftpAddress({ host, port }: SftpOptions): RemoteAddress {
  return { host: canonicalHost(host), port: port ?? sshPort };
}
