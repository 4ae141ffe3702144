import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { storageProbes, type StorageProbes } from '@holdfast/database/storage-probes';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { asHoldfastError, HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Routes, ServerDeps } from '../server-deps.ts';

/** What is slower than this is as good as down for whoever asks. */
const probeTimeoutMs = 2_000;

const partSchema = z.object({
  state: z.enum(['ok', 'degraded', 'down', 'unknown']),
  latencyMs: z.number().nullable(),
  errorCode: z.string().nullable(),
});

const healthSchema = z
  .object({
    state: z.enum(['ok', 'degraded', 'down']).describe('down: database or queue do not answer; degraded: some storage does not'),
    database: partSchema,
    queue: partSchema.extend({ backend: z.enum(['redis', 'postgresql']) }),
    storage: partSchema.extend({
      repositoryCount: z.number().int(),
      failingCount: z.number().int().describe('Repositories at which the last look of a worker failed'),
      probedAt: z.string().nullable().describe('The oldest of the last looks'),
    }),
    checkedAt: z.string(),
  })
  .meta({ id: 'Health' });

type Part = z.output<typeof partSchema>;

/** Open to everybody: it tells states and times, and no names. */
export function addHealthRoutes(routes: Routes, { database, queues, now }: ServerDeps): void {
  routes.get(
    '/health',
    {
      config: { access: 'public', rateLimit: false },
      logLevel: 'warn',
      schema: {
        tags: ['service'],
        summary: 'Whether database, queue and storage answer',
        description: 'Storage is what workers last saw of it: the API itself has no access to storage.',
        response: { 200: healthSchema, 503: healthSchema },
      },
    },
    async (_request, reply) => {
      const [databasePart, queuePart, storage] = await Promise.all([
        probe('database_unreachable', async () => {
          await database.client.$queryRaw`SELECT 1`;
        }),
        probe('queue_unreachable', async () => {
          await queues.ping();
        }),
        bounded(storageProbes(database.client), 'database_unreachable').catch(() => null),
      ]);
      const storagePart = storageHealth(storage);
      const isDown = databasePart.state === 'down' || queuePart.state === 'down';
      const isDegraded = storagePart.state === 'degraded' || storagePart.state === 'down';
      return reply.code(isDown ? 503 : 200).send({
        state: isDown ? 'down' : isDegraded ? 'degraded' : 'ok',
        database: databasePart,
        queue: { ...queuePart, backend: queues.backendKind },
        storage: storagePart,
        checkedAt: now().toISOString(),
      });
    },
  );
}

async function probe(lateCode: ErrorCode, ask: () => Promise<void>): Promise<Part> {
  const startedAtMs = performance.now();
  try {
    await bounded(ask(), lateCode);
    return { state: 'ok', latencyMs: Math.round((performance.now() - startedAtMs) * 10) / 10, errorCode: null };
  } catch (error) {
    return { state: 'down', latencyMs: null, errorCode: asHoldfastError(error).code };
  }
}

async function bounded<T>(promise: Promise<T>, lateCode: ErrorCode): Promise<T> {
  const answered = new AbortController();
  const late = delay(probeTimeoutMs, undefined, { signal: answered.signal }).then(() => {
    throw new HoldfastError(lateCode, `no answer within ${probeTimeoutMs} ms`);
  });
  // Rejected on every timely answer, when nobody waits for it any more.
  late.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    answered.abort();
  }
}

/** Nothing known: no repository yet, no look yet, or no database to ask. */
function storageHealth(probes: StorageProbes | null) {
  if (probes === null || probes.probedCount === 0) {
    const counts = { repositoryCount: probes?.repositoryCount ?? 0, failingCount: 0, probedAt: null };
    return { state: 'unknown' as const, latencyMs: null, errorCode: null, ...counts };
  }
  const { repositoryCount, probedCount, failingCount, averageLatencyMs, oldestProbeAt, errorCode } = probes;
  const state = failingCount === 0 ? ('ok' as const) : failingCount === probedCount ? ('down' as const) : ('degraded' as const);
  return { state, latencyMs: averageLatencyMs, errorCode, repositoryCount, failingCount, probedAt: oldestProbeAt?.toISOString() ?? null };
}
