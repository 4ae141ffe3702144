import { z } from 'zod';
import { assertEntity, createAdoptionJob, findAdoptionJob, listAdoptionJobs, type AdoptionJobRow } from '@holdfast/database/adoption-jobs';
import { findOrCreateRepository, replaceUnopenedPassword } from '@holdfast/database/repositories';
import type { Transaction } from '@holdfast/database/open-database';
import { storageOptionsSchema } from '@holdfast/storage/storage-options';
import { cancelJob } from '../cancel-job.ts';
import { builtStorageLocations, checkStorage, refuseUnbuilt, storageLocations } from '../check-config.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { fieldError } from '../problem.ts';
import { idempotencyHeadersSchema, idParamsSchema, idSchema, pageSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { filterAndPage, runListQuerySchema } from '../schemas/run-list.ts';
import { runView, runViewShape } from '../schemas/run-view.ts';
import { storageCredentialsSchema } from '../schemas/storage-credentials.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';
import { namingCredentials, refusePlace, storagePlace } from '../storage-place.ts';
import { submitJob } from '../submit-job.ts';
import { repositorySchema, viewRepository } from './repositories.ts';
import { addWaiting, withWaiting } from '../waiting-for.ts';

/** As long as a config's encryptionKey. */
const passwordMaxChars = 1024;

const adoptionSchema = z
  .object({
    ...runViewShape,
    repositoryId: z.string(),
    details: z.unknown().describe('Snapshots seen, adopted and gone, and the first of those that could not be read'),
  })
  .meta({ id: 'Adoption' });

function adoptionView(row: AdoptionJobRow) {
  return { ...runView(row), repositoryId: row.repositoryId, details: row.details };
}

const adoptSchema = z.strictObject({
  businessEntityId: idSchema,
  storageLocation: z.enum(storageLocations).describe(`Now: ${builtStorageLocations.join(', ')}`),
  storageOptions: storageOptionsSchema.describe('Where the repository lies; its type is storageLocation'),
  storageCredentials: storageCredentialsSchema.optional(),
  password: z
    .string()
    .max(passwordMaxChars)
    .regex(/^\P{Cc}*$/u, 'must not hold control characters')
    .describe('That of the repository, empty for one without. It is sealed on arrival and never returned'),
});

const acceptedSchema = z.object({ repository: repositorySchema, adoption: adoptionSchema });

const common = { tags: ['configs'], security: [{ bearer: [] }] };

export function addAdoptionRoutes(routes: Routes, deps: ServerDeps): void {
  addAdoptionStarts(routes, deps);
  addAdoptionRefresh(routes, deps);
  const { database } = deps;

  routes.get(
    '/adoptions',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List adoptions, newest first',
        querystring: runListQuerySchema.extend({ repositoryId: idSchema.optional() }),
        response: { 200: pageSchema(adoptionSchema), ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const { filter, page } = filterAndPage(request.query);
      const { items, nextCursor } = await listAdoptionJobs(database.client, callerOrThrow(request).scope, filter, page);
      return { items: await addWaiting(database.client, items.map(adoptionView)), nextCursor };
    },
  );

  routes.get(
    '/adoptions/:id',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Read an adoption',
        params: idParamsSchema,
        response: { 200: adoptionSchema, ...problemResponses('not_found') },
      },
    },
    async (request) =>
      withWaiting(database.client, adoptionView(await findAdoptionJob(database.client, callerOrThrow(request).scope, request.params.id))),
  );

  routes.post(
    '/adoptions/:id/cancel',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Cancel an adoption',
        description: 'What it has adopted stays; the next one goes on from there.',
        params: idParamsSchema,
        body: z.strictObject({}),
        response: {
          200: adoptionSchema.describe('It is cancelled'),
          202: adoptionSchema.describe('It runs; its worker was asked to stop'),
          ...problemResponses('request_invalid', 'not_found', 'run_already_finished'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const run = await findAdoptionJob(database.client, scope, request.params.id);
      const { asked } = await cancelJob(deps, request.log, 'adopt', run);
      return reply
        .code(asked ? 202 : 200)
        .send(await withWaiting(database.client, adoptionView(await findAdoptionJob(database.client, scope, run.id))));
    },
  );
}

function addAdoptionStarts(routes: Routes, deps: ServerDeps): void {
  const { config: settings } = deps;
  routes.post(
    '/repositories/adopt',
    {
      config: { access: 'operator' },
      preValidation: async (request) => refuseUnbuilt(request.body, 'storageLocation', storageLocations, builtStorageLocations),
      schema: {
        ...common,
        summary: 'Adopt a restic repository that is there already',
        description:
          'Its snapshots become completed backup jobs, which can be verified and recovered. Nothing is created or changed at the place, which ' +
          'is why this is no POST to /repositories. At a place that is a repository of the entity already it looks again: new snapshots ' +
          'appear, and those that are gone expire. Cleanup removes none of them before a retention is set on their config.',
        headers: idempotencyHeadersSchema,
        body: adoptSchema,
        response: {
          202: acceptedSchema.describe('Accepted'),
          ...problemResponses(
            'request_invalid',
            'not_found',
            'conflict',
            'type_not_supported',
            'path_outside_roots',
            'storage_host_not_allowed',
            'credentials_missing',
            'idempotency_key_reused',
          ),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const { businessEntityId, storageLocation, storageOptions, storageCredentials, password } = request.body;
      if (storageOptions.type !== storageLocation) {
        throw fieldError('request_invalid', [
          { field: 'storageOptions.type', message: `must be ${storageLocation}, as storageLocation says` },
        ]);
      }
      checkStorage(storageOptions, settings);
      const encryptionEnabled = password !== '';
      const input = {
        businessEntityId,
        storageLocation,
        storageOptions,
        encryptionEnabled,
        password: encryptionEnabled ? password : undefined,
        ...storagePlace(storageOptions, storageCredentials, settings),
      };
      const row = await submitJob(deps, request, {
        kind: 'adopt',
        async create(tx: Transaction) {
          await assertEntity(tx, scope, businessEntityId);
          await replaceUnopenedPassword(tx, input, settings.masterKey);
          await refusePlace(tx, input);
          const repository = await namingCredentials(() => findOrCreateRepository(tx, input, settings.masterKey));
          return createAdoptionJob(tx, scope, repository.id);
        },
        find: (tx, id) => findAdoptionJob(tx, scope, id),
      });
      const repository = await viewRepository(deps, scope, row.repositoryId);
      return reply.code(202).send({ repository, adoption: await withWaiting(deps.database.client, adoptionView(row)) });
    },
  );
}

function addAdoptionRefresh(routes: Routes, deps: ServerDeps): void {
  routes.post(
    '/repositories/:id/adopt',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'See what others have written to a repository, and removed from it',
        description: 'Snapshots that are in no backup job become one, and jobs whose snapshots are gone expire.',
        headers: idempotencyHeadersSchema,
        params: idParamsSchema,
        body: z.strictObject({}),
        response: {
          202: acceptedSchema.describe('Accepted'),
          ...problemResponses('request_invalid', 'not_found', 'idempotency_key_reused'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const row = await submitJob(deps, request, {
        kind: 'adopt',
        create: (tx) => createAdoptionJob(tx, scope, request.params.id),
        find: (tx, id) => findAdoptionJob(tx, scope, id),
      });
      const repository = await viewRepository(deps, scope, row.repositoryId);
      return reply.code(202).send({ repository, adoption: await withWaiting(deps.database.client, adoptionView(row)) });
    },
  );
}
