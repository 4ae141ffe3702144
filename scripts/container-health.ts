// The healthcheck of the image: exits 0 when the part that runs in this container does its work, else says why not and exits 1.
// Which part it is says the command of process 1: `node apps/api/src/main.ts` or `node apps/worker/src/main.ts`.
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { openDatabase } from '../libs/database/src/open-database.ts';
import { listWorkers } from '../libs/database/src/workers.ts';

/** Below the timeout of the image's HEALTHCHECK, so that the reason is told and not cut off. */
const answerLimitMs = 4_000;

const command = await readFile('/proc/1/cmdline', 'utf8');
if (command.includes('apps/worker/')) await checkWorker();
else await checkApi();

async function checkApi(): Promise<void> {
  const port = process.env['HOLDFAST_API_PORT'] ?? '8080';
  const answer = await fetch(`http://127.0.0.1:${port}/api/backup/health`, { signal: AbortSignal.timeout(answerLimitMs) });
  if (!answer.ok) throw new Error(`health answered ${answer.status}: ${await answer.text()}`);
}

/** A worker that is alive keeps its row in the database young; a container's host name is its own. */
async function checkWorker(): Promise<void> {
  await using database = await openDatabase({ url: process.env['DATABASE_URL'] ?? '', poolSize: 1, applicationName: 'holdfast-health' });
  const workers = await listWorkers(database.client);
  const own = workers.findLast((worker) => worker.hostname === hostname());
  if (own === undefined) throw new Error('the worker has not registered itself yet');
  if (!own.isAlive) throw new Error(`no heartbeat since ${own.heartbeatAt.toISOString()}`);
}
