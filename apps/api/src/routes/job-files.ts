import { z } from 'zod';
import { folderAnswerSchema } from '@holdfast/jobs/browse/browse-answers';
import { browsePageShape, fromRepositoryShape, searchQuery, searchShape, snapshotPathSchema } from '../browse/browse-query.ts';
import { browsedSnapshot, untilLeft } from '../browse/browsed-snapshot.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { idParamsSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import type { BrowseDeps, Routes } from '../server-deps.ts';

const querySchema = z.strictObject({
  path: snapshotPathSchema.default('/').describe('The folder, absolute in the snapshot; the whole snapshot when not given'),
  ...searchShape,
  ...browsePageShape,
  ...fromRepositoryShape,
});

/** Lists and searches one snapshot. */
export function addJobFileRoutes(routes: Routes, { database, workers }: BrowseDeps): void {
  routes.get(
    '/jobs/:id/files',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['files'],
        security: [{ bearer: [] }],
        summary: 'List a folder of a backup, or search below it',
        description:
          'A worker reads the folders of the snapshot; nothing is restored. In the order of the bytes of names; with `name` or `glob` everything ' +
          'below the path that fits, folders before what is in them.',
        params: idParamsSchema,
        querystring: querySchema,
        response: { 200: folderAnswerSchema, ...browseProblems() },
      },
    },
    async (request, reply) => {
      const { path, limit, cursor, fromRepositoryId } = request.query;
      const search = searchQuery(request.query);
      const { scope } = callerOrThrow(request);
      const { repositoryId, snapshotId, workerLabel } = await browsedSnapshot(database.client, scope, request.params.id, fromRepositoryId);
      const query = { snapshotId, path, limit, cursor, ...search };
      const question = { path: search === undefined ? '/folder' : '/search', repositoryId, workerLabel, query, signal: untilLeft(reply) };
      return workers.json(question, folderAnswerSchema);
    },
  );
}

/** What may be wrong wherever a worker looks into a backup. */
export function browseProblems(): ReturnType<typeof problemResponses> {
  return problemResponses(
    'request_invalid',
    'not_found',
    'run_not_finished',
    'backup_not_usable',
    'snapshot_missing',
    'path_not_found',
    'repository_damaged',
    'storage_unreachable',
    'worker_unreachable',
    'worker_busy',
  );
}
