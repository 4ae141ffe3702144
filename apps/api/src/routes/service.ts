import { z } from 'zod';
import { appendEvent } from '@holdfast/database/events';
import { inTransaction } from '@holdfast/database/in-transaction';
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
  const record = async (change: 'paused' | 'resumed', by: string): Promise<void> => {
    await inTransaction(deps.database, async (tx) => {
      await recordServicePause(tx, change === 'paused');
      await appendEvent(tx, {
        businessEntityId: null,
        type: `service.${change}`,
        subjectKind: 'service',
        subjectId: 'service',
        data: { by },
      });
    });
  };

  routes.post('/service/start', declaration('Let workers take jobs again'), async (request) => {
    await deps.queues.resumeAll();
    await record('resumed', callerOrThrow(request).subject);
    return { state: 'running' as const };
  });

  routes.post('/service/stop', declaration('Let workers take no more jobs; what is under way goes on'), async (request) => {
    await deps.queues.pauseAll();
    await record('paused', callerOrThrow(request).subject);
    return { state: 'paused' as const };
  });
}
