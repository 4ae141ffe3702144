import { z } from 'zod';
import { findBackupJob } from '@holdfast/database/backup-jobs';
import { createVerification, findVerification, listVerifications, type VerificationRow } from '@holdfast/database/verifications';
import { cancelJob } from '../cancel-job.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { idempotencyHeadersSchema, idParamsSchema, idSchema, pageSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { filterAndPage, runListQuerySchema } from '../schemas/run-list.ts';
import { iso, runView, runViewShape } from '../schemas/run-view.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';
import { submitJob } from '../submit-job.ts';

export const verificationTypes = ['checksum', 'integrity', 'restore_test'] as const;

const typeSchema = z
  .enum(verificationTypes)
  .describe('checksum: every pack is hashed again; integrity: every tree is walked; restore_test: restored and compared');

const verificationSchema = z
  .object({
    ...runViewShape,
    backupJobId: z.string(),
    verificationType: typeSchema,
    details: z.unknown().describe('Counts and findings'),
    verifiedAt: z.string().nullable(),
  })
  .meta({ id: 'BackupVerification' });

function verificationView(row: VerificationRow) {
  const { backupJobId, verificationType, details } = row;
  return { ...runView(row), backupJobId, verificationType, details, verifiedAt: iso(row.verifiedAt) };
}

const common = { tags: ['verifications'], security: [{ bearer: [] }] };

export function addVerificationRoutes(routes: Routes, deps: ServerDeps): void {
  addVerificationLists(routes, deps);
  const { database } = deps;

  routes.post(
    '/jobs/:id/verify',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Verify a completed backup',
        params: idParamsSchema,
        headers: idempotencyHeadersSchema,
        body: z.strictObject({ verificationType: typeSchema }),
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
        create: (tx) => createVerification(tx, scope, { backupJobId: request.params.id, ...request.body }),
        find: (tx, id) => findVerification(tx, scope, id),
      });
      return reply.code(202).send(verificationView(row));
    },
  );

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
    async (request) => verificationView(await findVerification(database.client, callerOrThrow(request).scope, request.params.id)),
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
      const { id } = await findVerification(database.client, scope, request.params.id);
      const { asked } = await cancelJob(deps, request.log, 'verify', id);
      return reply.code(asked ? 202 : 200).send(verificationView(await findVerification(database.client, scope, id)));
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
      return { items: items.map(verificationView), nextCursor };
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
      return { items: items.map(verificationView), nextCursor };
    },
  );
}
