import { recordRepositoryState, type RepositoryRow, secretRepositoryColumns } from '@holdfast/database/repositories';
import { repositoryLabels } from '@holdfast/database/repository-labels';
import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { carriesLabel } from '@holdfast/policy/routing';
import { openStorageOf, stateFor } from './open-repository.ts';
import type { WorkerContext } from './worker-context.ts';

/** A storage that takes longer for one small question is as good as away. */
const probeTimeoutMs = 10_000;
/** Repositories asked in one round, those that were asked longest ago first. */
const maxProbedPerRound = 100;
/** Of so many it is asked whether they are for this worker. */
const maxLookedAt = 2_000;

/**
 * Asks the storage of every repository whether its config object is there, and notes answer and latency on the row, where the
 * API's health finds it. Repositories that nothing was written to yet are left alone, and those whose runs are for workers with a label
 * that this one does not carry: a folder of another machine is not gone because it is not here.
 */
export async function probeStorages(context: WorkerContext): Promise<void> {
  const { database, clock, timing } = context;
  const before = new Date(clock.now().getTime() - timing.probeMs / 2);
  const due = await database.client.repository.findMany({
    where: { resticId: { not: null }, OR: [{ probedAt: null }, { probedAt: { lt: before } }] },
    orderBy: { probedAt: { sort: 'asc', nulls: 'first' } },
    take: maxLookedAt,
    omit: secretRepositoryColumns,
  });
  const labels = await repositoryLabels(
    database.client,
    due.map(({ id }) => id),
  );
  const own = due.filter(({ id }) => carriesLabel(context.config, labels.get(id) ?? null));
  for (const row of own.slice(0, maxProbedPerRound)) await probe(context, row);
}

async function probe(context: WorkerContext, row: RepositoryRow): Promise<void> {
  const { database, clock, logger } = context;
  const startedAtMs = performance.now();
  const code = await ask(context, row);
  const probedAt = clock.now();
  if (code === null) {
    const probeLatencyMs = Math.round(performance.now() - startedAtMs);
    const back = row.state === 'unreachable' ? ({ state: 'ready' } as const) : {};
    await recordRepositoryState(database.client, row.id, { probedAt, probeLatencyMs, probeErrorCode: null, ...back });
    return;
  }
  const state = stateFor(code);
  const seen = { probedAt, probeLatencyMs: null, probeErrorCode: code };
  await recordRepositoryState(database.client, row.id, state === undefined ? seen : { ...seen, state });
  logger.warn({ repositoryId: row.id, code }, 'the storage of a repository does not answer as it should');
}

/** Null when the repository is there, else the code of what is wrong. */
async function ask(context: WorkerContext, row: RepositoryRow): Promise<string | null> {
  try {
    const storage = await openStorageOf(context, row);
    try {
      await storage.stat('config', { signal: AbortSignal.timeout(probeTimeoutMs) });
      return null;
    } finally {
      await storage.close();
    }
  } catch (error) {
    if (error instanceof DOMException && error.name === 'TimeoutError') return 'storage_unreachable';
    const { code } = asHoldfastError(error);
    return code === 'storage_object_missing' ? 'repository_missing' : code;
  }
}
