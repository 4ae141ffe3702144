import { execFile } from 'node:child_process';
import { mkdtemp, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openLocalStorage } from '../local/local-storage.ts';
import { startSftpServer, type SftpServer } from '../testing/sftp-server.ts';

const run = promisify(execFile);
const newer = process.env['RESTIC_NEWER_BIN'];

describe.each(['restic', ...(newer === undefined ? [] : [newer])])('an sftp server under %s', (restic) => {
  let server: SftpServer;
  beforeAll(async () => {
    server = await startSftpServer();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  it('takes a repository that was copied to it, and gives back what restic made there', async () => {
    const base = await mkdtemp(join(server.folder, 'interop-'));
    const [made, there, back] = ['made', 'there', 'back'].map((name) => join(base, name)) as [string, string, string];
    const sftp = await sftpCommand(server, base);
    const call = (repository: string, ...more: string[]) =>
      run(restic, ['--repo', repository, '--no-cache', '-o', `sftp.command=${sftp}`, ...more], {
        env: { ...process.env, RESTIC_PASSWORD: 'secret' },
      });
    const remote = `sftp:${server.user}@127.0.0.1:${there}`;
    await writeFile(join(base, 'file'), 'content');
    await call(made, 'init');
    await call(made, 'backup', join(base, 'file'));

    const local = await openLocalStorage({ path: made });
    const storage = await server.open({ path: there });
    for await (const { name } of local.list('')) await storage.put(name, await local.get(name));
    expect((await readdir(join(there, 'data'))).length).toBeLessThan(256);

    await writeFile(join(there, 'data', '.tmp-left-behind'), 'half a pack');
    await call(remote, 'check', '--read-data');
    await writeFile(join(base, 'file'), 'other content');
    await call(remote, 'backup', join(base, 'file'));
    await call(remote, 'forget', '--keep-last', '1', '--prune');
    await call(remote, 'check', '--read-data');

    const copy = await openLocalStorage({ path: back });
    for await (const { name } of storage.list('')) await copy.put(name, await storage.get(name));
    await storage.close();
    await call(back, 'check', '--read-data');
    const { stdout } = await call(back, 'dump', 'latest', join(base, 'file'));
    expect(stdout).toBe('other content');
  });
});

/** The command by which restic reaches the server: nothing of this machine's own ssh settings has a say in it. */
async function sftpCommand(server: SftpServer, base: string): Promise<string> {
  const knownHosts = join(base, 'known_hosts');
  await writeFile(knownHosts, `[127.0.0.1]:${String(server.port)} ${server.hostKey}\n`);
  const config = join(base, 'ssh_config');
  const lines = [
    'Host *',
    `IdentityFile ${server.privateKeyFile}`,
    'IdentitiesOnly yes',
    `UserKnownHostsFile ${knownHosts}`,
    'StrictHostKeyChecking yes',
  ];
  await writeFile(config, `${lines.join('\n')}\n`);
  return `ssh -F ${config} -p ${String(server.port)} ${server.user}@127.0.0.1 -s sftp`;
}
