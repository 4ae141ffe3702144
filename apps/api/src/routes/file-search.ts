import { z } from 'zod';
import { findBackupConfig } from '@holdfast/database/backup-configs';
import { findRepository } from '@holdfast/database/repositories';
import { historyAnswerSchema } from '@holdfast/jobs/browse/browse-answers';
import { browsePageShape, searchQuery, searchShape, snapshotPathSchema } from '../browse/browse-query.ts';
import { untilLeft } from '../browse/browsed-snapshot.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { fieldError } from '../problem.ts';
import { idSchema, timeSchema } from '../schemas/primitives.ts';
import type { BrowseDeps, Routes } from '../server-deps.ts';
import { browseProblems } from './job-files.ts';

const querySchema = z.strictObject({
  configId: idSchema.optional().describe('Backups of this config, in the repository that it writes to now'),
  repositoryId: idSchema.optional().describe('All backups of this repository; give one of the two'),
  path: snapshotPathSchema.default('/').describe('Only below this folder'),
  ...searchShape,
  from: timeSchema.optional().describe('Only backups that began at or after this time'),
  to: timeSchema.optional().describe('Only backups that began before this time'),
  ...browsePageShape,
});

/** Searches over time: which versions of a file there are, and in which backups. */
export function addFileSearchRoute(routes: Routes, { database, workers }: BrowseDeps): void {
  routes.get(
    '/files/search',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['files'],
        security: [{ bearer: [] }],
        summary: 'Find files over all backups of a config or a repository',
        description:
          'For each path that fits, its versions (content, size, time) with the first and the last backup that has them. A page may have fewer ' +
          'entries than asked for, or none, and still be followed by another: searching takes its time in parts.',
        querystring: querySchema,
        response: { 200: historyAnswerSchema, ...browseProblems() },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const { configId, repositoryId, path, from, to, limit, cursor } = request.query;
      const search = searchQuery(request.query);
      if (search === undefined) throw refusal('name', 'is missing; send a name or a glob');
      if ((configId === undefined) === (repositoryId === undefined)) throw refusal('configId', 'or repositoryId is needed, one of the two');
      const searched =
        configId === undefined
          ? { repositoryId: (await findRepository(database.client, scope, repositoryId ?? '')).id, workerLabel: null }
          : await findBackupConfig(database.client, scope, configId);
      const query = { backupConfigId: configId, path, from, to, limit, cursor, ...search };
      const question = { repositoryId: searched.repositoryId, workerLabel: searched.workerLabel, query, signal: untilLeft(reply) };
      return workers.json({ path: '/history', ...question }, historyAnswerSchema);
    },
  );
}

function refusal(field: string, message: string): Error {
  return fieldError('request_invalid', [{ field, message }]);
}
