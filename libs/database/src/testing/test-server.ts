import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { startEmbeddedPostgres } from '../embedded-postgres.ts';

/** A server that is there already, with a user who may create databases; the tests of several processes share it. */
export const testDatabaseVariable = 'HOLDFAST_TEST_DATABASE_URL';

export interface TestServer extends AsyncDisposable {
  readonly url: string;
}

/** Nothing of a test outlives it, so nothing is waited for. */
const settings = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', autovacuum: 'off' };

/** The given server, else one of our own in a temporary folder that goes with this process. */
export async function startTestServer(): Promise<TestServer> {
  const given = process.env[testDatabaseVariable];
  if (given !== undefined && given !== '') return { url: given, [Symbol.asyncDispose]: async () => undefined };
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-postgres-'));
  const server = await startEmbeddedPostgres({ dataDir, log: () => undefined, settings });
  const watcher = watchStarter(dataDir);
  server.unref();
  const dispose = async (): Promise<void> => {
    watcher.stdin.end('ended in order\n');
    await server.stop();
    await rm(dataDir, { recursive: true });
  };
  return { url: server.url, [Symbol.asyncDispose]: dispose };
}

/**
 * A shell that waits on a pipe from this process, which breaks however this process ends, also by SIGKILL. Without a word
 * before, it ends the server and removes its folder.
 */
function watchStarter(dataDir: string): ChildProcessByStdio<Writable, null, null> {
  const script = `read -r word && exit; kill -QUIT "$(head -n 1 "$1/cluster/postmaster.pid")"; sleep 1; rm -rf "$1"`;
  const watcher = spawn('sh', ['-c', script, 'sh', dataDir], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  watcher.unref();
  if ('unref' in watcher.stdin && typeof watcher.stdin.unref === 'function') watcher.stdin.unref();
  return watcher;
}
