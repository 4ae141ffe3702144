import { z } from 'zod';
import { createCleanupJobs, findCleanupJob, listCleanupJobs, type CleanupJobRow } from '@holdfast/database/cleanup-jobs';
import { cancelJob } from '../cancel-job.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { idempotencyHeadersSchema, idParamsSchema, idSchema, pageSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { filterAndPage, runListQuerySchema } from '../schemas/run-list.ts';
import { iso, runView, runViewShape } from '../schemas/run-view.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';
import { submitJobs } from '../submit-job.ts';
import { addWaiting, withWaiting } from '../waiting-for.ts';

const cleanupSchema = z
  .object({
    ...runViewShape,
    repositoryId: z.string(),
    trigger: z.enum(['request', 'schedule']),
    scheduledFor: z.string().nullable(),
    dryRun: z.boolean(),
    details: z
      .unknown()
      .describe('Snapshots forgotten and bytes freed, or what would have been; `held`: what may not go yet, and from when on it may'),
  })
  .meta({ id: 'CleanupJob' });

function cleanupView(row: CleanupJobRow) {
  const { repositoryId, trigger, dryRun, details } = row;
  return { ...runView(row), repositoryId, trigger, dryRun, details, scheduledFor: iso(row.scheduledFor) };
}

const common = { tags: ['maintenance'], security: [{ bearer: [] }] };

export function addMaintenanceRoutes(routes: Routes, deps: ServerDeps): void {
  addCleanupStart(routes, deps);
  const { database } = deps;

  routes.get(
    '/maintenance/cleanup',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List cleanup jobs, newest first',
        querystring: runListQuerySchema.extend({ repositoryId: idSchema.optional() }),
        response: { 200: pageSchema(cleanupSchema), ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const { filter, page } = filterAndPage(request.query);
      const { items, nextCursor } = await listCleanupJobs(database.client, callerOrThrow(request).scope, filter, page);
      return { items: await addWaiting(database.client, items.map(cleanupView)), nextCursor };
    },
  );

  routes.get(
    '/maintenance/cleanup/:id',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Read a cleanup job',
        params: idParamsSchema,
        response: { 200: cleanupSchema, ...problemResponses('not_found') },
      },
    },
    async (request) =>
      withWaiting(database.client, cleanupView(await findCleanupJob(database.client, callerOrThrow(request).scope, request.params.id))),
  );

  routes.post(
    '/maintenance/cleanup/:id/cancel',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Cancel a cleanup job',
        params: idParamsSchema,
        body: z.strictObject({}),
        response: {
          200: cleanupSchema.describe('It is cancelled'),
          202: cleanupSchema.describe('It runs; its worker was asked to stop'),
          ...problemResponses('request_invalid', 'not_found', 'run_already_finished'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const run = await findCleanupJob(database.client, scope, request.params.id);
      const { asked } = await cancelJob(deps, request.log, 'cleanup', run);
      return reply
        .code(asked ? 202 : 200)
        .send(await withWaiting(database.client, cleanupView(await findCleanupJob(database.client, scope, run.id))));
    },
  );
}

function addCleanupStart(routes: Routes, deps: ServerDeps): void {
  routes.post(
    '/maintenance/cleanup',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Remove what retention no longer keeps',
        description:
          'One cleanup job for each repository meant: the named one, all of the named entity, or all that the token may touch. ' +
          'Append-only ones are left out unless named, which is refused, or it is a dry run.',
        headers: idempotencyHeadersSchema,
        body: z.strictObject({
          businessEntityId: idSchema.optional(),
          repositoryId: idSchema.optional(),
          dryRun: z.boolean().default(false).describe('Report what would go and change nothing'),
        }),
        response: {
          202: z.object({ items: z.array(cleanupSchema) }).describe('Accepted; empty when there is no repository'),
          ...problemResponses('request_invalid', 'not_found', 'idempotency_key_reused', 'storage_append_only'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const rows = await submitJobs(deps, request, {
        kind: 'cleanup',
        create: (tx) => createCleanupJobs(tx, scope, request.body),
        find: (tx, id) => findCleanupJob(tx, scope, id),
      });
      return reply.code(202).send({ items: await addWaiting(deps.database.client, rows.map(cleanupView)) });
    },
  );
}
