import { z } from 'zod';
import { deleteCopyConfig, findCopyConfig, listCopyConfigs, updateCopyConfig, type CopyConfigRow } from '@holdfast/database/copy-configs';
import { createCopyJobOf, findCopyJob } from '@holdfast/database/copy-jobs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { copyOptionsSchema } from '@holdfast/jobs/copy-options';
import { checkSchedule } from '../check-config.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { givenFields } from '../schemas/given-fields.ts';
import { scheduleFields } from '../schemas/place-fields.ts';
import { idempotencyHeadersSchema, idParamsSchema, idSchema, listQuerySchema, pageSchema } from '../schemas/primitives.ts';
import { noContentSchema, problemResponses } from '../schemas/responses.ts';
import { iso } from '../schemas/run-view.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';
import { submitJob } from '../submit-job.ts';
import { syncScheduler } from '../sync-scheduler.ts';
import { copySchema, copyView } from './copies.ts';
import { withWaiting } from '../waiting-for.ts';

const copyConfigSchema = z
  .object({
    id: z.string(),
    businessEntityId: z.string(),
    sourceRepositoryId: z.string(),
    targetRepositoryId: z.string(),
    schedule: z.string(),
    timeZone: z.string(),
    options: z.unknown().describe('Which snapshots, whether they are verified, how fast'),
    isActive: z.boolean(),
    deletedAt: z.string().nullable().describe('When it was deleted; its jobs and copies stay'),
    createdAt: z.string(),
    updatedAt: z.string(),
  })
  .meta({ id: 'CopyConfig' });

function copyConfigView(row: CopyConfigRow) {
  const { id, businessEntityId, sourceRepositoryId, targetRepositoryId, schedule, timeZone, options, isActive } = row;
  const times = { deletedAt: iso(row.deletedAt), createdAt: row.createdAt.toISOString(), updatedAt: row.updatedAt.toISOString() };
  return { id, businessEntityId, sourceRepositoryId, targetRepositoryId, schedule, timeZone, options, isActive, ...times };
}

const changesSchema = z
  .strictObject({
    ...scheduleFields,
    options: copyOptionsSchema.describe('Replaces them whole'),
    isActive: z.boolean().describe('Inactive ones copy nothing'),
  })
  .partial();

const common = { tags: ['copies'], security: [{ bearer: [] }] };

/** Copy configs are made by POST /repositories/:id/copies. */
export function addCopyConfigRoutes(routes: Routes, deps: ServerDeps): void {
  addCopyConfigReads(routes, deps);
  addCopyConfigChanges(routes, deps);

  routes.post(
    '/copy-configs/:id/copies',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Copy now what a copy config copies',
        params: idParamsSchema,
        headers: idempotencyHeadersSchema,
        body: z.strictObject({}),
        response: {
          202: copySchema.describe('Accepted'),
          ...problemResponses('request_invalid', 'not_found', 'config_inactive', 'idempotency_key_reused'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const row = await submitJob(deps, request, {
        kind: 'copy',
        create: async (tx) => (await createCopyJobOf(tx, scope, { copyConfigId: request.params.id })).row,
        find: (tx, id) => findCopyJob(tx, scope, id),
      });
      return reply.code(202).send(await withWaiting(deps.database.client, copyView(row)));
    },
  );
}

function addCopyConfigReads(routes: Routes, { database }: ServerDeps): void {
  routes.get(
    '/copy-configs',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List the copy configs that are not deleted',
        querystring: listQuerySchema
          .omit({ from: true, to: true })
          .extend({ sourceRepositoryId: idSchema.optional(), targetRepositoryId: idSchema.optional() }),
        response: { 200: pageSchema(copyConfigSchema), ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const { limit, cursor, ...filter } = request.query;
      const page = await listCopyConfigs(database.client, callerOrThrow(request).scope, filter, { limit, cursor });
      return { items: page.items.map(copyConfigView), nextCursor: page.nextCursor };
    },
  );

  routes.get(
    '/copy-configs/:id',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Read a copy config, also a deleted one',
        params: idParamsSchema,
        response: { 200: copyConfigSchema, ...problemResponses('not_found') },
      },
    },
    async (request) => copyConfigView(await findCopyConfig(database.client, callerOrThrow(request).scope, request.params.id)),
  );
}

function addCopyConfigChanges(routes: Routes, { database, queues, now }: ServerDeps): void {
  routes.put(
    '/copy-configs/:id',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Change a copy config, or turn it off',
        description: 'Fields that are left out keep their value. For other repositories make another one.',
        params: idParamsSchema,
        body: changesSchema,
        response: { 200: copyConfigSchema, ...problemResponses('request_invalid', 'schedule_invalid', 'not_found') },
      },
    },
    async (request) => {
      const { id } = request.params;
      const { scope } = callerOrThrow(request);
      const { options, ...changes } = request.body;
      const row = await inTransaction(database, async (tx) => {
        const before = await findCopyConfig(tx, scope, id);
        checkSchedule(changes.schedule ?? before.schedule, changes.timeZone ?? before.timeZone);
        return updateCopyConfig(tx, scope, id, { ...changes, options: options === undefined ? undefined : givenFields(options) });
      });
      await syncScheduler(queues, request.log, row, { copyConfigId: id });
      return copyConfigView(row);
    },
  );

  routes.delete(
    '/copy-configs/:id',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Delete a copy config; its jobs and copies stay',
        params: idParamsSchema,
        response: { 204: noContentSchema, ...problemResponses('not_found') },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const deletedAt = now();
      await inTransaction(database, (tx) => deleteCopyConfig(tx, callerOrThrow(request).scope, id, deletedAt));
      await syncScheduler(queues, request.log, { id, schedule: null, timeZone: 'UTC', isActive: false, deletedAt });
      return reply.code(204).send();
    },
  );
}
