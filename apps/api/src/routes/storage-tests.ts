import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { findRepository } from '@holdfast/database/repositories';
import { createStorageTest, deleteStorageTest, storageTestResult, type StorageTestInput } from '@holdfast/database/storage-tests';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { credentialsPlace, storageOptionsSchema } from '@holdfast/storage/storage-options';
import { checkStorage, credentialsFor } from '../check-config.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { fieldError } from '../problem.ts';
import { idParamsSchema, idSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { storageCredentialsSchema } from '../schemas/storage-credentials.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';

/** The worker answers within fifteen seconds of having taken it. */
const answerLimitMs = 25_000;
/** Quick at first: a folder answers at once, a server far away within a second. */
const firstPollMs = 10;
const longestPollMs = 250;

const trialSchema = z
  .object({
    ok: z.boolean(),
    steps: z.array(
      z.object({
        step: z.enum(['open', 'look', 'write', 'read', 'list', 'refuse_overwrite', 'delete']),
        ok: z.boolean(),
        durationMs: z.number(),
        errorCode: z.string().optional(),
        message: z.string().optional().describe('What the storage said'),
        hint: z.string().optional().describe('What to do about it; the right that is missing'),
      }),
    ),
    holdsRepository: z.boolean().nullable().describe('Whether a repository lies there already; null when that could not be seen'),
  })
  .meta({ id: 'StorageTrial' });

const common = {
  tags: ['configs'],
  security: [{ bearer: [] }],
  description: 'A worker writes, reads, lists and deletes a small object there. What is wrong with the place is an answer, not an error.',
};
const problems = ['request_invalid', 'not_found', 'queue_unreachable', 'storage_test_unanswered'] as const;

export function addStorageTestRoutes(routes: Routes, deps: ServerDeps): void {
  const { config: settings, database } = deps;
  routes.post(
    '/repositories/test',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Try a place before a config relies on it',
        body: z.strictObject({
          businessEntityId: idSchema,
          storageOptions: storageOptionsSchema,
          storageCredentials: storageCredentialsSchema.optional(),
        }),
        response: {
          200: trialSchema,
          ...problemResponses(...problems, 'path_outside_roots', 'storage_host_not_allowed', 'credentials_missing'),
        },
      },
    },
    async (request) => {
      const { businessEntityId, storageOptions, storageCredentials } = request.body;
      checkStorage(storageOptions, settings);
      const credentials = credentialsFor(storageOptions, storageCredentials, settings);
      const place = credentialsPlace(storageOptions);
      if (place !== undefined && credentials === undefined) {
        throw fieldError('credentials_missing', [{ field: 'storageCredentials', message: 'are missing; send what lets us in there' }]);
      }
      const text = credentials === undefined ? undefined : JSON.stringify(credentials);
      return answered(deps, callerOrThrow(request).scope, { businessEntityId, storageOptions, credentialsPlace: place, credentials: text });
    },
  );

  routes.post(
    '/repositories/:id/test',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Try the place of a repository with the credentials that it has',
        params: idParamsSchema,
        response: { 200: trialSchema, ...problemResponses(...problems) },
      },
    },
    async (request) => {
      const { scope } = callerOrThrow(request);
      const { id, businessEntityId, storageOptions } = await findRepository(database.client, scope, request.params.id);
      return answered(deps, scope, { businessEntityId, repositoryId: id, storageOptions: storageOptionsSchema.parse(storageOptions) });
    },
  );
}

/** Has a worker try it and waits for the answer; nothing of it is left then. */
async function answered(
  { config: { masterKey }, database: { client }, queues, storageTestLimitMs = answerLimitMs }: ServerDeps,
  scope: Parameters<typeof createStorageTest>[1],
  input: StorageTestInput,
): Promise<z.output<typeof trialSchema>> {
  const id = await createStorageTest(client, scope, input, masterKey);
  try {
    await queues.enqueueStorageTest(id);
    const giveUpAtMs = performance.now() + storageTestLimitMs;
    for (let pollMs = firstPollMs; performance.now() < giveUpAtMs; pollMs = Math.min(pollMs * 1.5, longestPollMs)) {
      const result = await storageTestResult(client, id);
      if (result !== undefined) return trialSchema.parse(result);
      await sleep(pollMs);
    }
    throw new HoldfastError('storage_test_unanswered', `no worker has answered within ${storageTestLimitMs / 1000} s`);
  } finally {
    await deleteStorageTest(client, id);
  }
}
