import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../embedded-postgres.ts';
import { signalProcess } from '../postgres-process.ts';

/** A server that is there already, with a user who may create databases; the tests of several processes share it. */
export const TEST_DATABASE_VARIABLE = 'HOLDFAST_TEST_DATABASE_URL';

export interface TestServer extends AsyncDisposable {
  readonly url: string;
}

/** A server that was told to quit may still write for some milliseconds. */
const REMOVE_TRIES = 10;

/** Nothing of a test outlives it, so nothing is waited for. */
const settings = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', autovacuum: 'off' };

/** The given server, else one of our own in a temporary folder that goes with this process. */
export async function startTestServer(): Promise<TestServer> {
  const given = process.env[TEST_DATABASE_VARIABLE];
  if (given !== undefined && given !== '') return { url: given, [Symbol.asyncDispose]: async () => undefined };
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-postgres-'));
  const server = await startEmbeddedPostgres({ dataDir, log: () => undefined, settings });
  // A process that ends without dispose must not leave a server behind.
  const onExit = (): void => {
    signalProcess(server.pid, 'SIGQUIT');
    rmSync(dataDir, { recursive: true, force: true, maxRetries: REMOVE_TRIES });
  };
  process.once('exit', onExit);
  const dispose = async (): Promise<void> => {
    process.off('exit', onExit);
    await server.stop();
    await rm(dataDir, { recursive: true });
  };
  return { url: server.url, [Symbol.asyncDispose]: dispose };
}
