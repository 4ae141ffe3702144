import { z } from 'zod';
import { appendEvent } from '@holdfast/database/events';
import { inTransaction } from '@holdfast/database/in-transaction';
import { labelsInUse } from '@holdfast/database/labels-in-use';
import { recordServicePause } from '@holdfast/database/service-state';
import { callerOrThrow } from '../plugins/authentication.ts';
import { problemResponses } from '../schemas/responses.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';

const answerSchema = z.object({ state: z.enum(['running', 'paused']) }).meta({ id: 'ServiceState' });

const declaration = (summary: string) => ({
  config: { access: 'all_entities_admin' as const },
  schema: {
    tags: ['service'],
    summary,
    security: [{ bearer: [] }],
    body: z.strictObject({}),
    response: { 200: answerSchema, ...problemResponses('request_invalid', 'queue_unreachable') },
  },
});

/**
 * Pause and resume the queues of work. Jobs are accepted all the same, and runs that are under way go on. The row is for queues
 * that lose everything: the reconciler pauses them again.
 */
export function addServiceRoutes(routes: Routes, deps: ServerDeps): void {
  const { queues, database } = deps;
  /** Gives the labels whose queues the change is of: a worker that came meanwhile is among them, or sees the row. */
  const record = async (change: 'paused' | 'resumed', by: string): Promise<string[]> =>
    inTransaction(database, async (tx) => {
      const labels = await recordServicePause(tx, change === 'paused', await labelsInUse(tx));
      await appendEvent(tx, {
        businessEntityId: null,
        type: `service.${change}`,
        subjectKind: 'service',
        subjectId: 'service',
        data: { by },
      });
      return labels;
    });

  routes.post('/service/start', declaration('Let workers take jobs again'), async (request) => {
    await queues.resumeAll();
    await queues.resumeLabels(await labelsInUse(database.client));
    await queues.resumeLabels(await record('resumed', callerOrThrow(request).subject));
    return { state: 'running' as const };
  });

  routes.post('/service/stop', declaration('Let workers take no more jobs; what is under way goes on'), async (request) => {
    await queues.pauseAll();
    await queues.pauseLabels(await labelsInUse(database.client));
    await queues.pauseLabels(await record('paused', callerOrThrow(request).subject));
    return { state: 'paused' as const };
  });
}
