import { z } from 'zod';
import { createBackupJob, findBackupJob, listBackupJobs, type BackupJobRow } from '@holdfast/database/backup-jobs';
import { startRunIn } from '@holdfast/database/runs';
import { cancelJob } from '../cancel-job.ts';
import { backupTypes } from '../check-config.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { idempotencyHeadersSchema, idParamsSchema, idSchema, pageSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { filterAndPage, runListQuerySchema } from '../schemas/run-list.ts';
import { count, iso, runView, runViewShape } from '../schemas/run-view.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';
import { submitJob } from '../submit-job.ts';
import { addWaiting, withWaiting } from '../waiting-for.ts';

const jobSchema = z
  .object({
    ...runViewShape,
    backupConfigId: z.string(),
    repositoryId: z.string(),
    backupType: z.enum(backupTypes),
    trigger: z.enum(['request', 'schedule']),
    scheduledFor: z.string().nullable().describe('The tick of the schedule that this job answers'),
    snapshotId: z.string().nullable().describe('restic snapshot; null until it is written and after it expired'),
    filePath: z.string().nullable().describe('Where the backup lies'),
    fileSize: z.number().nullable().describe('Bytes of all files in the backup'),
    checksum: z.string().nullable().describe('SHA-256 of the root tree: equal checksums mean equal content'),
    expiredAt: z.string().nullable().describe('When cleanup removed the snapshot'),
    metadata: z.unknown().describe('What the worker noted: counts, skipped files, what deduplication saved'),
  })
  .meta({ id: 'BackupJob' });

function jobView(row: BackupJobRow) {
  const { backupConfigId, repositoryId, backupType, trigger, snapshotId, filePath, checksum, metadata } = row;
  return {
    ...runView(row),
    backupConfigId,
    repositoryId,
    backupType,
    trigger,
    snapshotId,
    filePath,
    checksum,
    metadata,
    scheduledFor: iso(row.scheduledFor),
    fileSize: count(row.fileSize),
    expiredAt: iso(row.expiredAt),
  };
}

const common = { tags: ['jobs'], security: [{ bearer: [] }] };

export function addJobRoutes(routes: Routes, deps: ServerDeps): void {
  addJobStarts(routes, deps);
  const { database } = deps;

  routes.get(
    '/jobs',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List backup jobs, newest first',
        querystring: runListQuerySchema.extend({ type: z.enum(backupTypes).optional(), backupConfigId: idSchema.optional() }),
        response: { 200: pageSchema(jobSchema), ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const { filter, page } = filterAndPage(request.query);
      const { items, nextCursor } = await listBackupJobs(database.client, callerOrThrow(request).scope, filter, page);
      return { items: await addWaiting(database.client, items.map(jobView)), nextCursor };
    },
  );

  routes.get(
    '/jobs/:id',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Read a backup job',
        params: idParamsSchema,
        response: { 200: jobSchema, ...problemResponses('not_found') },
      },
    },
    async (request) =>
      withWaiting(database.client, jobView(await findBackupJob(database.client, callerOrThrow(request).scope, request.params.id))),
  );

  routes.post(
    '/jobs/:id/cancel',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Cancel a backup job',
        params: idParamsSchema,
        body: z.strictObject({}),
        response: {
          200: jobSchema.describe('It is cancelled'),
          202: jobSchema.describe('It runs; its worker was asked to stop'),
          ...problemResponses('request_invalid', 'not_found', 'run_already_finished'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const run = await findBackupJob(database.client, scope, request.params.id);
      const { asked } = await cancelJob(deps, request.log, 'backup', run);
      return reply
        .code(asked ? 202 : 200)
        .send(await withWaiting(database.client, jobView(await findBackupJob(database.client, scope, run.id))));
    },
  );
}

function addJobStarts(routes: Routes, deps: ServerDeps): void {
  routes.post(
    '/jobs',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Back up a config now',
        headers: idempotencyHeadersSchema,
        body: z.strictObject({
          backupConfigId: idSchema,
          execute: z.boolean().default(true).describe('false: the job waits until it is executed'),
        }),
        response: {
          201: jobSchema.describe('Made; it waits for POST /jobs/:id/execute'),
          202: jobSchema.describe('Accepted; it is done even when the queue is away now'),
          ...problemResponses('request_invalid', 'not_found', 'config_inactive', 'idempotency_key_reused'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const row = await submitJob(deps, request, {
        kind: 'backup',
        create: async (tx) => (await createBackupJob(tx, scope, request.body)).row,
        find: (tx, id) => findBackupJob(tx, scope, id),
      });
      return reply.code(request.body.execute ? 202 : 201).send(await withWaiting(deps.database.client, jobView(row)));
    },
  );

  routes.post(
    '/jobs/:id/execute',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Start a job that waits',
        params: idParamsSchema,
        headers: idempotencyHeadersSchema,
        body: z.strictObject({}),
        response: {
          202: jobSchema.describe('Accepted, or already on its way'),
          ...problemResponses('request_invalid', 'not_found', 'run_already_finished', 'conflict', 'idempotency_key_reused'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const find: Parameters<typeof submitJob<BackupJobRow>>[2]['find'] = (tx, id) => findBackupJob(tx, scope, id);
      const row = await submitJob(deps, request, {
        kind: 'backup',
        async create(tx) {
          const { id } = await find(tx, request.params.id);
          await startRunIn(tx, 'backup', id);
          return find(tx, id);
        },
        find,
      });
      return reply.code(202).send(await withWaiting(deps.database.client, jobView(row)));
    },
  );
}
