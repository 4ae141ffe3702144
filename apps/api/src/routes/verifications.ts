import { z } from 'zod';
import { findBackupJob } from '@holdfast/database/backup-jobs';
import { createVerification, findVerification, listVerifications, type VerificationRow } from '@holdfast/database/verifications';
import type { Transaction } from '@holdfast/database/open-database';
import type { Scope } from '@holdfast/database/scope';
import { verificationOptionsSchema } from '@holdfast/sources/recovery-options';
import { cancelJob } from '../cancel-job.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { fieldError } from '../problem.ts';
import { idempotencyHeadersSchema, idParamsSchema, idSchema, pageSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { filterAndPage, runListQuerySchema } from '../schemas/run-list.ts';
import { iso, runView, runViewShape } from '../schemas/run-view.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';
import { submitJob } from '../submit-job.ts';
import { addWaiting, withWaiting } from '../waiting-for.ts';

export const verificationTypes = ['checksum', 'integrity', 'restore_test'] as const;

const typeSchema = z
  .enum(verificationTypes)
  .describe(
    'checksum: every pack is hashed again; integrity: every tree is walked; restore_test: restored and compared; that of a PostgreSQL backup: into a server of its own, which is asked',
  );

const createSchema = z.strictObject({
  verificationType: typeSchema,
  assertions: verificationOptionsSchema.shape.assertions
    .unwrap()
    .optional()
    .describe('For a restore_test of a backup of PostgreSQL: what the restored server must answer'),
});

/** Codes: not_found, request_invalid. */
async function refuseAssertions(tx: Transaction, scope: Scope, backupJobId: string, verificationType: string): Promise<void> {
  const { backupType } = await findBackupJob(tx, scope, backupJobId);
  if (verificationType === 'restore_test' && (backupType === 'database_full' || backupType === 'database_incremental')) return;
  throw fieldError('request_invalid', [
    { field: 'assertions', message: 'are for a restore_test of a backup of PostgreSQL; leave them out' },
  ]);
}

const verificationSchema = z
  .object({
    ...runViewShape,
    backupJobId: z.string(),
    verificationType: typeSchema,
    options: z.unknown().describe('As they were given; null for none'),
    details: z.unknown().describe('Counts and findings'),
    verifiedAt: z.string().nullable(),
  })
  .meta({ id: 'BackupVerification' });

function verificationView(row: VerificationRow) {
  const { backupJobId, verificationType, options, details } = row;
  return { ...runView(row), backupJobId, verificationType, options, details, verifiedAt: iso(row.verifiedAt) };
}

const common = { tags: ['verifications'], security: [{ bearer: [] }] };

export function addVerificationRoutes(routes: Routes, deps: ServerDeps): void {
  addVerificationLists(routes, deps);
  addVerificationRuns(routes, deps);

  routes.post(
    '/jobs/:id/verify',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Verify a completed backup',
        params: idParamsSchema,
        headers: idempotencyHeadersSchema,
        body: createSchema,
        response: {
          202: verificationSchema.describe('Accepted'),
          ...problemResponses('request_invalid', 'not_found', 'run_not_finished', 'backup_not_usable', 'idempotency_key_reused'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const row = await submitJob(deps, request, {
        kind: 'verify',
        async create(tx) {
          const { verificationType, assertions } = request.body;
          const backupJobId = request.params.id;
          if (assertions === undefined) return createVerification(tx, scope, { backupJobId, verificationType });
          await refuseAssertions(tx, scope, backupJobId, verificationType);
          return createVerification(tx, scope, { backupJobId, verificationType, options: { assertions } });
        },
        find: (tx, id) => findVerification(tx, scope, id),
      });
      return reply.code(202).send(await withWaiting(deps.database.client, verificationView(row)));
    },
  );
}

function addVerificationRuns(routes: Routes, deps: ServerDeps): void {
  const { database } = deps;

  routes.get(
    '/verifications/:id',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Read a verification',
        params: idParamsSchema,
        response: { 200: verificationSchema, ...problemResponses('not_found') },
      },
    },
    async (request) =>
      withWaiting(
        database.client,
        verificationView(await findVerification(database.client, callerOrThrow(request).scope, request.params.id)),
      ),
  );

  routes.post(
    '/verifications/:id/cancel',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Cancel a verification',
        params: idParamsSchema,
        body: z.strictObject({}),
        response: {
          200: verificationSchema.describe('It is cancelled'),
          202: verificationSchema.describe('It runs; its worker was asked to stop'),
          ...problemResponses('request_invalid', 'not_found', 'run_already_finished'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const run = await findVerification(database.client, scope, request.params.id);
      const { asked } = await cancelJob(deps, request.log, 'verify', run);
      return reply
        .code(asked ? 202 : 200)
        .send(await withWaiting(database.client, verificationView(await findVerification(database.client, scope, run.id))));
    },
  );
}

function addVerificationLists(routes: Routes, { database }: ServerDeps): void {
  const querySchema = runListQuerySchema.extend({ type: z.enum(verificationTypes).optional() });
  const response = { 200: pageSchema(verificationSchema), ...problemResponses('request_invalid', 'not_found') };

  routes.get(
    '/verifications',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List verifications, newest first',
        querystring: querySchema.extend({ backupJobId: idSchema.optional() }),
        response,
      },
    },
    async (request) => {
      const { filter, page } = filterAndPage(request.query);
      const { items, nextCursor } = await listVerifications(database.client, callerOrThrow(request).scope, filter, page);
      return { items: await addWaiting(database.client, items.map(verificationView)), nextCursor };
    },
  );

  routes.get(
    '/jobs/:id/verifications',
    {
      config: { access: 'viewer' },
      schema: { ...common, summary: 'List the verifications of a backup', params: idParamsSchema, querystring: querySchema, response },
    },
    async (request) => {
      const { scope } = callerOrThrow(request);
      const { id: backupJobId } = await findBackupJob(database.client, scope, request.params.id);
      const { filter, page } = filterAndPage(request.query);
      const { items, nextCursor } = await listVerifications(database.client, scope, { ...filter, backupJobId }, page);
      return { items: await addWaiting(database.client, items.map(verificationView)), nextCursor };
    },
  );
}
