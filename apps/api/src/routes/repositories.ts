import { z } from 'zod';
import { findRepository, listRepositories, type RepositoryRow } from '@holdfast/database/repositories';
import { repositoryFigures, type RepositoryFigures } from '@holdfast/database/repository-figures';
import type { Scope } from '@holdfast/database/scope';
import { storageLocations } from '../check-config.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { idParamsSchema, listQuerySchema, pageSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { iso } from '../schemas/run-view.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';

/** What growth is told over: a month shows a trend, a day the last full backup. */
const growthDays = 30;
const dayMs = 24 * 3600 * 1000;

export const repositorySchema = z
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
    snapshotCount: z.number().int().describe('Backups whose snapshots, or copies of them, are there'),
    sizeBytes: z.number().describe('Pack bytes after the last cleanup, and what backups and copies have stored since'),
    growthBytes: z.number().describe(`Pack bytes that backups and copies have stored in the last ${growthDays} days`),
    lastBackupAt: z.string().nullable(),
    lastCheck: z
      .object({ at: z.string(), kind: z.string(), passed: z.boolean() })
      .nullable()
      .describe('The newest verification of one of its backups that came to an end'),
    createdAt: z.string(),
    updatedAt: z.string(),
  })
  .meta({ id: 'Repository' });

function repositoryView(row: RepositoryRow, figures: RepositoryFigures | undefined) {
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
    snapshotCount: figures?.snapshotCount ?? 0,
    sizeBytes: Number(figures?.sizeBytes ?? 0),
    growthBytes: Number(figures?.growthBytes ?? 0),
    lastBackupAt: iso(figures?.lastBackupAt ?? null),
    lastCheck:
      figures === undefined || figures.lastCheck === null ? null : { ...figures.lastCheck, at: figures.lastCheck.at.toISOString() },
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

const common = { tags: ['configs'], security: [{ bearer: [] }] };

/** A repository with its figures. Code: not_found. */
export async function viewRepository({ database, now }: Pick<ServerDeps, 'database' | 'now'>, scope: Scope, id: string) {
  const row = await findRepository(database.client, scope, id);
  const figures = await repositoryFigures(database.client, [id], new Date(now().getTime() - growthDays * dayMs));
  return repositoryView(row, figures.get(id));
}

/** Repositories are made by configs and adopted; here they are only looked at. */
export function addRepositoryRoutes(routes: Routes, deps: ServerDeps): void {
  const { database, now } = deps;
  const figuresOf = (ids: readonly string[]) => repositoryFigures(database.client, ids, new Date(now().getTime() - growthDays * dayMs));

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
      const figures = await figuresOf(items.map(({ id }) => id));
      return { items: items.map((row) => repositoryView(row, figures.get(row.id))), nextCursor };
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
    async (request) => viewRepository(deps, callerOrThrow(request).scope, request.params.id),
  );
}
