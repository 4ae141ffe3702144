import { z } from 'zod';
import { findBackupJob } from '@holdfast/database/backup-jobs';
import { createCopyConfig, findCopyConfig } from '@holdfast/database/copy-configs';
import { createCopyJob, findCopyJob, listCopyJobs, type CopyJobRow } from '@holdfast/database/copy-jobs';
import { findRepository } from '@holdfast/database/repositories';
import { startRunIn } from '@holdfast/database/runs';
import { copiesOfBackup } from '@holdfast/database/snapshot-copies';
import { copyJobOptionsSchema } from '@holdfast/jobs/copy-options';
import { cancelJob } from '../cancel-job.ts';
import { builtStorageLocations, checkSchedule, refuseUnbuilt, storageLocations } from '../check-config.ts';
import { copyTargetFields, findCopyTarget } from '../copy-target.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { fieldError } from '../problem.ts';
import { givenFields } from '../schemas/given-fields.ts';
import { scheduleFields } from '../schemas/place-fields.ts';
import { idempotencyHeadersSchema, idParamsSchema, idSchema, pageSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { filterAndPage, runListQuerySchema } from '../schemas/run-list.ts';
import { iso, runView, runViewShape } from '../schemas/run-view.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';
import { submitJob } from '../submit-job.ts';
import { syncScheduler } from '../sync-scheduler.ts';
import { addWaiting, withWaiting } from '../waiting-for.ts';

export const copySchema = z
  .object({
    ...runViewShape,
    sourceRepositoryId: z.string(),
    targetRepositoryId: z.string(),
    copyConfigId: z.string().nullable().describe('The copy config that it belongs to; null when it was asked for by itself'),
    trigger: z.enum(['request', 'schedule']),
    scheduledFor: z.string().nullable(),
    options: z.unknown().describe('Which snapshots, whether they are verified, how fast'),
    details: z.unknown().describe('Snapshots copied and failed, bytes, and what the verification found'),
  })
  .meta({ id: 'CopyJob' });

export function copyView(row: CopyJobRow) {
  const { sourceRepositoryId, targetRepositoryId, copyConfigId, trigger, options, details } = row;
  const scheduledFor = iso(row.scheduledFor);
  return { ...runView(row), sourceRepositoryId, targetRepositoryId, copyConfigId, trigger, scheduledFor, options, details };
}

const createSchema = z.strictObject({
  ...copyTargetFields,
  options: copyJobOptionsSchema.prefault({}),
  schedule: scheduleFields.schedule
    .nullable()
    .default(null)
    .describe('Cron expression: a copy config is made too, and copies again at these times; null for this once'),
  timeZone: scheduleFields.timeZone.default('UTC'),
  execute: z.boolean().default(true).describe('false: the job waits until it is executed'),
});

const common = { tags: ['copies'], security: [{ bearer: [] }] };

export function addCopyRoutes(routes: Routes, deps: ServerDeps): void {
  addCopyStart(routes, deps);
  addCopyLists(routes, deps);
  addCopyRuns(routes, deps);
}

function addCopyStart(routes: Routes, deps: ServerDeps): void {
  const { config: settings, database, queues } = deps;
  routes.post(
    '/repositories/:id/copies',
    {
      config: { access: 'operator' },
      preValidation: async (request) => refuseUnbuilt(request.body, 'storageLocation', storageLocations, builtStorageLocations),
      schema: {
        ...common,
        summary: 'Copy snapshots into a second repository, now and by a schedule',
        description:
          'Only what the second repository lacks is sent, and read back when it is there. The second repository is named by ' +
          'targetRepositoryId, or by its storage, and made when it is not there: with a password of its own, cutting files like the first. ' +
          'With a schedule a copy config is made as well, which GET, PUT and DELETE /copy-configs/:id show and change.',
        params: idParamsSchema,
        headers: idempotencyHeadersSchema,
        body: createSchema,
        response: {
          201: copySchema.describe('Made; it waits for POST /copies/:id/execute'),
          202: copySchema.describe('Accepted'),
          ...problemResponses(
            ...(['request_invalid', 'schedule_invalid', 'not_found', 'conflict', 'type_not_supported', 'path_outside_roots'] as const),
            ...(['storage_host_not_allowed', 'credentials_missing', 'idempotency_key_reused'] as const),
          ),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const { schedule, timeZone, execute, options, ...target } = request.body;
      checkSchedule(schedule, timeZone);
      if (schedule !== null && options.snapshots.ids !== undefined) {
        throw fieldError('request_invalid', [
          { field: 'options.snapshots.ids', message: 'is for a copy without a schedule; leave it out' },
        ]);
      }
      const row = await submitJob(deps, request, {
        kind: 'copy',
        async create(tx) {
          const source = await findRepository(tx, scope, request.params.id);
          const { businessEntityId, id: sourceRepositoryId } = source;
          const { id: targetRepositoryId } = await findCopyTarget(tx, source, target, settings);
          const input = { businessEntityId, sourceRepositoryId, targetRepositoryId, options: givenFields(options) };
          const config = schedule === null ? null : await createCopyConfig(tx, { ...input, schedule, timeZone });
          return createCopyJob(tx, { ...input, copyConfigId: config?.id ?? null, execute });
        },
        find: (tx, id) => findCopyJob(tx, scope, id),
      });
      if (row.copyConfigId !== null) {
        const config = await findCopyConfig(database.client, scope, row.copyConfigId);
        await syncScheduler(queues, request.log, config, { copyConfigId: config.id });
      }
      return reply.code(execute ? 202 : 201).send(await withWaiting(deps.database.client, copyView(row)));
    },
  );
}

function addCopyLists(routes: Routes, { database }: ServerDeps): void {
  const querySchema = runListQuerySchema.extend({ targetRepositoryId: idSchema.optional(), copyConfigId: idSchema.optional() });
  const response = { 200: pageSchema(copySchema), ...problemResponses('request_invalid', 'not_found') };

  routes.get(
    '/copies',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List copy jobs, newest first',
        querystring: querySchema.extend({ sourceRepositoryId: idSchema.optional() }),
        response,
      },
    },
    async (request) => {
      const { filter, page } = filterAndPage(request.query);
      const { items, nextCursor } = await listCopyJobs(database.client, callerOrThrow(request).scope, filter, page);
      return { items: await addWaiting(database.client, items.map(copyView)), nextCursor };
    },
  );

  routes.get(
    '/repositories/:id/copies',
    {
      config: { access: 'viewer' },
      schema: { ...common, summary: 'List the copy jobs from a repository', params: idParamsSchema, querystring: querySchema, response },
    },
    async (request) => {
      const { scope } = callerOrThrow(request);
      const { id: sourceRepositoryId } = await findRepository(database.client, scope, request.params.id);
      const { filter, page } = filterAndPage(request.query);
      const { items, nextCursor } = await listCopyJobs(database.client, scope, { ...filter, sourceRepositoryId }, page);
      return { items: await addWaiting(database.client, items.map(copyView)), nextCursor };
    },
  );

  routes.get(
    '/jobs/:id/copies',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List the repositories that hold a copy of a backup',
        params: idParamsSchema,
        response: {
          200: z.object({
            items: z.array(
              z.object({
                repositoryId: z.string(),
                snapshotId: z.string().describe('The id that the copy has there'),
                copyJobId: z.string(),
                verifiedAt: z.string().nullable().describe('When all that it needs was last found whole; null when nobody has looked'),
                createdAt: z.string(),
              }),
            ),
          }),
          ...problemResponses('not_found'),
        },
      },
    },
    async (request) => {
      const { scope } = callerOrThrow(request);
      const { id } = await findBackupJob(database.client, scope, request.params.id);
      const rows = await copiesOfBackup(database.client, scope, id);
      return {
        items: rows.map(({ repositoryId, snapshotId, copyJobId, verifiedAt, createdAt }) => {
          return { repositoryId, snapshotId, copyJobId, verifiedAt: iso(verifiedAt), createdAt: createdAt.toISOString() };
        }),
      };
    },
  );
}

function addCopyRuns(routes: Routes, deps: ServerDeps): void {
  const { client } = deps.database;

  routes.get(
    '/copies/:id',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Read a copy job',
        params: idParamsSchema,
        response: { 200: copySchema, ...problemResponses('not_found') },
      },
    },
    async (request) => withWaiting(client, copyView(await findCopyJob(client, callerOrThrow(request).scope, request.params.id))),
  );

  routes.post(
    '/copies/:id/execute',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Start a copy job that waits',
        params: idParamsSchema,
        headers: idempotencyHeadersSchema,
        body: z.strictObject({}),
        response: {
          202: copySchema.describe('Accepted, or already on its way'),
          ...problemResponses('request_invalid', 'not_found', 'run_already_finished', 'conflict', 'idempotency_key_reused'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const row = await submitJob<CopyJobRow>(deps, request, {
        kind: 'copy',
        async create(tx) {
          const { id } = await findCopyJob(tx, scope, request.params.id);
          await startRunIn(tx, 'copy', id);
          return findCopyJob(tx, scope, id);
        },
        find: (tx, id) => findCopyJob(tx, scope, id),
      });
      return reply.code(202).send(await withWaiting(client, copyView(row)));
    },
  );

  routes.post(
    '/copies/:id/cancel',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Cancel a copy job',
        params: idParamsSchema,
        body: z.strictObject({}),
        response: {
          200: copySchema.describe('It is cancelled'),
          202: copySchema.describe('It runs; its worker was asked to stop'),
          ...problemResponses('request_invalid', 'not_found', 'run_already_finished'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const run = await findCopyJob(client, scope, request.params.id);
      const { asked } = await cancelJob(deps, request.log, 'copy', run);
      return reply.code(asked ? 202 : 200).send(await withWaiting(client, copyView(await findCopyJob(client, scope, run.id))));
    },
  );
}
