import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startSftpServer } from '../../libs/storage/src/testing/sftp-server.ts';
import type { PlaceServer } from './storage-place.ts';

/** OpenSSH, which knows one user, by a key. */
export async function startSftpPlaces(): Promise<PlaceServer> {
  const server = await startSftpServer();
  const { user, privateKeyFile, credentials } = server;
  const host = '127.0.0.1';
  let placeCount = 0;
  return {
    description: "OpenSSH's sshd",
    transferPort: server.port,
    async newPlace(_use, port = server.port) {
      const path = join(server.folder, `place-${++placeCount}`);
      const ssh = ['ssh', '-p', String(port), '-i', privateKeyFile, '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null'];
      return {
        ours: { options: server.options({ path, port }), credentials },
        rclone: { settings: { type: 'sftp', host, port: String(port), user, key_file: privateKeyFile }, path, args: [] },
        restic: {
          backend: 'sftp',
          repository: `sftp:${user}@${host}:${path}`,
          args: ['-o', `sftp.command=${ssh.join(' ')} -o LogLevel=ERROR ${user}@${host} -s sftp`],
          env: {},
        },
      };
    },
    async clear() {
      for (const name of await readdir(server.folder)) await rm(join(server.folder, name), { recursive: true });
    },
    [Symbol.asyncDispose]: async () => server[Symbol.asyncDispose](),
  };
}
