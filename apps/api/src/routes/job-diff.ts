import { z } from 'zod';
import { diffAnswerSchema } from '@holdfast/jobs/browse/browse-answers';
import { browsePageShape, fromRepositoryShape, snapshotPathSchema } from '../browse/browse-query.ts';
import { browsedSnapshot, untilLeft, type BrowsedSnapshot } from '../browse/browsed-snapshot.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { fieldError } from '../problem.ts';
import { idParamsSchema, idSchema } from '../schemas/primitives.ts';
import type { BrowseDeps, Routes } from '../server-deps.ts';
import { browseProblems } from './job-files.ts';

const querySchema = z.strictObject({
  path: snapshotPathSchema.default('/').describe('Only what is below this folder of either snapshot; everything when not given'),
  ...browsePageShape,
  ...fromRepositoryShape,
});

/** Compares two snapshots. */
export function addJobDiffRoute(routes: Routes, { database, workers }: BrowseDeps): void {
  routes.get(
    '/jobs/:id/diff/:otherId',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['files'],
        security: [{ bearer: [] }],
        summary: 'Tell what changed from one backup to another',
        description:
          'Added, removed and changed files, folders and links with their sizes before and after, and the totals of all. Both backups are of one ' +
          'entity and lie in one repository; folders that are the same in both are not read.',
        params: idParamsSchema.extend({ otherId: idSchema.describe('The backup that is held against it') }),
        querystring: querySchema,
        response: { 200: diffAnswerSchema, ...browseProblems() },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const { id, otherId } = request.params;
      const { path, limit, cursor, fromRepositoryId } = request.query;
      const before = await browsedSnapshot(database.client, scope, id, fromRepositoryId);
      const after = await browsedSnapshot(database.client, scope, otherId, fromRepositoryId);
      assertComparable(before, after);
      const { repositoryId, snapshotId, workerLabel } = before;
      const query = { snapshotId, otherSnapshotId: after.snapshotId, path, limit, cursor };
      return workers.json({ path: '/diff', repositoryId, workerLabel, query, signal: untilLeft(reply) }, diffAnswerSchema);
    },
  );
}

/** Blobs of two repositories have nothing by which they could be held against each other. */
function assertComparable(before: BrowsedSnapshot, after: BrowsedSnapshot): void {
  if (before.businessEntityId !== after.businessEntityId) {
    throw fieldError('request_invalid', [{ field: 'otherId', message: 'is of another business entity; compare backups of one' }]);
  }
  if (before.repositoryId === after.repositoryId) return;
  const message =
    `lies in repository ${after.repositoryId}, the other in ${before.repositoryId}; ` +
    'backups of one repository can be compared, or copies of both in one: name it with fromRepositoryId';
  throw fieldError('request_invalid', [{ field: 'otherId', message }]);
}
