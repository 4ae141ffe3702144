import { z } from 'zod';
import { runCounts } from '@holdfast/database/metrics';
import { labelledQueuesInUse } from '@holdfast/database/labels-in-use';
import { waitingAlerts, type WaitingAlert } from '@holdfast/database/waiting-runs';
import { listWorkers, type WorkerRow } from '@holdfast/database/workers';
import type { Scope } from '@holdfast/database/scope';
import { runKinds, queueNames, type RunKind } from '@holdfast/jobs/queue-names';
import { waitingAlertMs, waitingMessage } from '@holdfast/policy/routing';
import { callerOrThrow } from '../plugins/authentication.ts';
import { problemResponses } from '../schemas/responses.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';
import { byStatusSchema } from './metrics.ts';

const countsSchema = z.object({
  waiting: z.number().int(),
  active: z.number().int(),
  delayed: z.number().int(),
  completed: z.number().int(),
  failed: z.number().int(),
});

const statusSchema = z
  .object({
    state: z.enum(['running', 'paused', 'partly_paused']),
    queueBackend: z.enum(['redis', 'postgresql']),
    paused: z.record(z.enum(runKinds), z.boolean()).describe('Queues of which workers take no jobs now'),
    queues: z.record(z.enum(queueNames), countsSchema).describe('Jobs on the queues; finished ones are kept for a while'),
    labelledQueues: z
      .array(countsSchema.extend({ kind: z.enum(runKinds), workerLabel: z.string() }))
      .describe('Jobs on the queues of labels: of those for which a run is owed or under way, or a config makes backups'),
    alerts: z
      .array(
        z.object({
          code: z.enum(['waiting_for_worker']),
          subject: z.string().nullable().describe('The label that no worker which is alive carries; null: of runs that name none'),
          since: z.string(),
          message: z.string(),
        }),
      )
      .describe('What somebody has to see to; of runs that the token may see'),
    runs: z.record(z.enum(runKinds), byStatusSchema).describe('Rows that the token may see, by status'),
    workers: z
      .array(
        z.object({
          id: z.string(),
          hostname: z.string(),
          pid: z.number().int(),
          startedAt: z.string(),
          heartbeatAt: z.string(),
          labels: z.array(z.string()).describe('What it can reach, in the words of whoever runs it'),
          labelsOnly: z.boolean().describe('true: it takes no runs but those that name one of its labels'),
          isAlive: z.boolean().describe('false when its last heartbeat is older than 45 s'),
          runningCount: z.number().int(),
          running: z.array(z.object({ kind: z.string(), id: z.string() })).describe('For tokens of all entities'),
        }),
      )
      .describe('Worker processes of the last day'),
  })
  .meta({ id: 'ServiceStatus' });

export function addStatusRoutes(routes: Routes, deps: ServerDeps): void {
  const { database, queues, now } = deps;
  routes.get(
    '/status',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['service'],
        summary: 'What the service is doing',
        security: [{ bearer: [] }],
        response: { 200: statusSchema, ...problemResponses('queue_unreachable') },
      },
    },
    async (request) => {
      const { scope } = callerOrThrow(request);
      const [paused, counts, runs, workers, waiting, labelled] = await Promise.all([
        queues.paused(),
        queues.counts(),
        runCounts(database.client, scope),
        listWorkers(database.client),
        waitingAlerts(database.client, scope, deps.waitingAlertMs ?? waitingAlertMs, now()),
        labelledQueuesInUse(database.client).then((inUse) => queues.labelledCounts(inUse)),
      ]);
      return {
        state: stateOf(paused),
        queueBackend: queues.backendKind,
        paused,
        queues: counts,
        labelledQueues: labelled.map(({ kind, workerLabel, counts: ofLabel }) => ({ kind, workerLabel: workerLabel ?? '', ...ofLabel })),
        runs,
        alerts: waiting.map(waitingAlertView),
        workers: workers.map((worker) => workerView(worker, scope)),
      };
    },
  );
}

function stateOf(paused: Readonly<Record<RunKind, boolean>>): 'running' | 'paused' | 'partly_paused' {
  const values = Object.values(paused);
  if (values.every(Boolean)) return 'paused';
  return values.some(Boolean) ? 'partly_paused' : 'running';
}

function waitingAlertView({ workerLabel, since, runCount }: WaitingAlert) {
  const runs = runCount === 1 ? '1 run waits' : `${runCount} runs wait`;
  return {
    code: 'waiting_for_worker' as const,
    subject: workerLabel,
    since: since.toISOString(),
    message: `${runs}: ${waitingMessage(workerLabel)}`,
  };
}

function workerView(worker: WorkerRow, scope: Scope) {
  const { id, hostname, pid, labels, labelsOnly, isAlive, running } = worker;
  return {
    id,
    hostname,
    pid,
    labels: [...labels],
    labelsOnly,
    isAlive,
    startedAt: worker.startedAt.toISOString(),
    heartbeatAt: worker.heartbeatAt.toISOString(),
    runningCount: running.length,
    // Ids of other entities' runs are nobody else's business.
    running: typeof scope === 'string' ? running.map((run) => ({ kind: run.kind, id: run.id })) : [],
  };
}
