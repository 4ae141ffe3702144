import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openLocalStorage } from '../local/local-storage.ts';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { type FtpTestServer, startFtpServer } from '../testing/ftp-server.ts';
import { openFtpStorage } from './ftp-storage.ts';

/** restic reaches FTP through rclone: it runs `rclone serve restic --stdio`, which is told of the server by its environment. */
const run = promisify(execFile);
const newer = process.env['RESTIC_NEWER_BIN'];

describe.each(['restic', ...(newer === undefined ? [] : [newer])])('an FTP storage under %s', (restic) => {
  let server: FtpTestServer;
  let base: string;
  beforeAll(async () => {
    server = await startFtpServer({ program: 'pure-ftpd' });
    base = await mkdtemp(join(tmpdir(), 'holdfast-interop-'));
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await rm(base, { recursive: true });
  });

  const call = async (repository: string, ...more: string[]) => {
    const { stdout: obscured } = await run('rclone', ['obscure', server.credentials.password]);
    const remote = {
      RCLONE_CONFIG: join(base, 'none.conf'),
      RCLONE_CONFIG_BACKUPS_TYPE: 'ftp',
      RCLONE_CONFIG_BACKUPS_HOST: '127.0.0.1',
      RCLONE_CONFIG_BACKUPS_PORT: String(server.port),
      RCLONE_CONFIG_BACKUPS_USER: 'holdfast',
      RCLONE_CONFIG_BACKUPS_PASS: obscured.trim(),
      RCLONE_CONFIG_BACKUPS_EXPLICIT_TLS: 'true',
      RCLONE_CONFIG_BACKUPS_NO_CHECK_CERTIFICATE: 'true',
    };
    return run(restic, ['--repo', repository, '--no-cache', ...more], { env: { ...process.env, ...remote, RESTIC_PASSWORD: 'secret' } });
  };
  const opened = async (path: string): Promise<Storage> => {
    const storage = await openFtpStorage(server.options({ path }), server.credentials, defaultAdapterSettings);
    onTestFinished(() => storage.close());
    return storage;
  };
  const copy = async (from: Storage, to: Storage): Promise<void> => {
    for await (const { name } of from.list('')) await to.put(name, await from.get(name));
  };

  it('takes a repository that we wrote, checks it and backs up into it', async () => {
    const local = join(base, 'made');
    await writeFile(join(base, 'file'), 'content');
    await call(local, 'init');
    await call(local, 'backup', join(base, 'file'));
    await copy(await openLocalStorage({ path: local }), await opened('ours'));

    await call('rclone:BACKUPS:ours', 'check', '--read-data');
    await writeFile(join(base, 'file'), 'other content');
    await call('rclone:BACKUPS:ours', 'backup', join(base, 'file'));
    await call('rclone:BACKUPS:ours', 'forget', '--keep-last', '1', '--prune');
    await call('rclone:BACKUPS:ours', 'check', '--read-data');
    const { stdout } = await call('rclone:BACKUPS:ours', 'dump', 'latest', join(base, 'file'));
    expect(stdout).toBe('other content');
  });

  it('makes a repository that we read whole', async () => {
    await writeFile(join(base, 'file'), 'content of restic');
    await call('rclone:BACKUPS:theirs', 'init');
    await call('rclone:BACKUPS:theirs', 'backup', join(base, 'file'));
    const copied = join(base, 'copied');
    await copy(await opened('theirs'), await openLocalStorage({ path: copied }));
    await call(copied, 'check', '--read-data');
    const { stdout } = await call(copied, 'dump', 'latest', join(base, 'file'));
    expect(stdout).toBe('content of restic');
  });
});
