import { execFileSync } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startFtpServer } from '../../libs/storage/src/testing/ftp-server.ts';
import type { PlaceServer } from './storage-place.ts';

/** Pure-FTPd, over TLS. restic does not speak FTP. */
export async function startFtpPlaces(): Promise<PlaceServer> {
  const server = await startFtpServer({ program: 'pure-ftpd' });
  let placeCount = 0;
  return {
    description: 'Pure-FTPd over TLS',
    // A line stands before one port, and bytes come by others.
    transferPort: undefined,
    async newPlace() {
      const path = `place-${++placeCount}`;
      const options = server.options({ path });
      const { host, port, user } = options;
      const { password } = server.credentials;
      const login = { host, port: String(port), user, pass: obscured(password), explicit_tls: 'true', no_check_certificate: 'true' };
      return {
        ours: { options, credentials: server.credentials },
        rclone: { settings: { type: 'ftp', ...login }, path, args: [] },
        restic: null,
      };
    },
    async clear() {
      for (const name of await readdir(server.home)) await rm(join(server.home, name), { recursive: true });
    },
    [Symbol.asyncDispose]: async () => server[Symbol.asyncDispose](),
  };
}

/** rclone takes a password in no other form; where there is no rclone nobody asks. */
function obscured(password: string): string {
  try {
    return execFileSync(process.env['RCLONE_BIN'] ?? 'rclone', ['obscure', '-'], { input: password, encoding: 'utf8' }).trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}
