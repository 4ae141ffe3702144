import { z } from 'zod';
import { findRepository, listRepositories, type RepositoryRow } from '@holdfast/database/repositories';
import { storageLocations } from '../check-config.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { idParamsSchema, listQuerySchema, pageSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { iso } from '../schemas/run-view.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';

const repositorySchema = z
  .object({
    id: z.string(),
    businessEntityId: z.string(),
    storageLocation: z.enum(storageLocations),
    storageOptions: z.unknown(),
    encryptionEnabled: z.boolean(),
    state: z.enum(['new', 'ready', 'unreachable', 'damaged']),
    resticId: z.string().nullable().describe("The id in the repository's own config file"),
    probedAt: z.string().nullable().describe('When a worker last looked at the storage'),
    probeLatencyMs: z.number().nullable(),
    probeErrorCode: z.string().nullable(),
    createdAt: z.string(),
    updatedAt: z.string(),
  })
  .meta({ id: 'Repository' });

function repositoryView(row: RepositoryRow) {
  const { id, businessEntityId, storageLocation, storageOptions, encryptionEnabled, state, resticId, probeLatencyMs, probeErrorCode } = row;
  return {
    id,
    businessEntityId,
    storageLocation,
    storageOptions,
    encryptionEnabled,
    state,
    resticId,
    probeLatencyMs,
    probeErrorCode,
    probedAt: iso(row.probedAt),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

const common = { tags: ['configs'], security: [{ bearer: [] }] };

/** Repositories are made by configs; here they are only looked at. */
export function addRepositoryRoutes(routes: Routes, { database }: ServerDeps): void {
  routes.get(
    '/repositories',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List repositories',
        querystring: listQuerySchema.omit({ from: true, to: true }),
        response: { 200: pageSchema(repositorySchema), ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const { limit, cursor, ...filter } = request.query;
      const { items, nextCursor } = await listRepositories(database.client, callerOrThrow(request).scope, filter, { limit, cursor });
      return { items: items.map(repositoryView), nextCursor };
    },
  );

  routes.get(
    '/repositories/:id',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Read a repository',
        params: idParamsSchema,
        response: { 200: repositorySchema, ...problemResponses('not_found') },
      },
    },
    async (request) => repositoryView(await findRepository(database.client, callerOrThrow(request).scope, request.params.id)),
  );
}
