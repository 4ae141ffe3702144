import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { RedisConnection } from '../redis-connection.ts';
import { freePort } from './test-redis-server.ts';

/** A server that somebody has started as README.txt of a part says. */
export interface FollowedReadme extends AsyncDisposable {
  readonly session: RedisConnection;
}

const startLimitMs = 15_000;
const pollMs = 20;
/** What README.txt leaves to the reader: where the server listens. Tests compare by DEBUG DIGEST. */
const around = (port: number) => ['--port', String(port), '--bind', '127.0.0.1', '--enable-debug-command', 'yes'];

/**
 * Runs the commands of `README.txt` in `folder`, a restored part, word for word, with stock programs: DATA is the new folder `data`. The programs
 * get their port by scripts of the same name that come first on the PATH.
 */
export async function followRedisReadme(folder: string, data: string): Promise<FollowedReadme> {
  const readme = await readFile(join(folder, 'README.txt'), 'utf8');
  const [copy, start, keepFile, ...more] = readme.split('\n').flatMap((line) => /^ {5}((?:cp|redis-).*)$/u.exec(line)?.[1] ?? []);
  if (copy === undefined || start === undefined || keepFile === undefined || more.length > 0)
    throw new Error(`README.txt has other commands than a copy, a start and a setting:\n${readme}`);
  const port = await freePort();
  const bin = join(data, '..', 'bin-of-readme');
  await mkdir(data);
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, 'redis-server'), `#!/bin/sh\nexec /usr/bin/redis-server "$@" ${around(port).join(' ')}\n`, { mode: 0o755 });
  await writeFile(join(bin, 'redis-cli'), `#!/bin/sh\nexec /usr/bin/redis-cli -e -p ${port} "$@"\n`, { mode: 0o755 });
  const options = { cwd: folder, env: { PATH: `${bin}:/usr/bin:/bin` } };
  const words = (command: string): string[] => ['-e', '-c', command.replaceAll('DATA', data)];
  await promisify(execFile)('sh', words(copy), options);
  const server = spawn('sh', words(`exec ${start}`), { ...options, stdio: 'ignore' });
  const end = async (): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
  };
  try {
    const session = await whenItAnswers(port, () => server.exitCode);
    await promisify(execFile)('sh', words(keepFile), options);
    return {
      session,
      [Symbol.asyncDispose]: async () => {
        await session[Symbol.asyncDispose]();
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

async function whenItAnswers(port: number, exitCode: () => number | null): Promise<RedisConnection> {
  const giveUpAtMs = performance.now() + startLimitMs;
  for (;;) {
    try {
      return await RedisConnection.open({ host: '127.0.0.1', port, tls: { mode: 'disable' } }, new AbortController().signal);
    } catch (error) {
      if (performance.now() > giveUpAtMs || exitCode() !== null) throw error;
      await delay(pollMs);
    }
  }
}
