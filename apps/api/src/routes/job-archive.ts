import { z } from 'zod';
import { fromRepositoryShape, snapshotPathSchema } from '../browse/browse-query.ts';
import { browsedSnapshot, untilLeft } from '../browse/browsed-snapshot.ts';
import type { DownloadSlots } from '../browse/download-slots.ts';
import { noteContentRead } from '../browse/note-content-read.ts';
import { sendDownload } from '../browse/send-download.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { idParamsSchema } from '../schemas/primitives.ts';
import type { BrowseDeps, Routes } from '../server-deps.ts';
import { browseProblems } from './job-files.ts';

/** What a person marks in a list; a folder is one. */
const pathsMaxCount = 100;
const mediaTypes = { tar: 'application/x-tar', zip: 'application/zip' } as const;

const querySchema = z.strictObject({
  paths: z
    .preprocess((given) => (given === undefined ? given : [given].flat()), z.array(snapshotPathSchema).min(1).max(pathsMaxCount))
    .describe(`Files and folders, absolute in the snapshot; given again for each, at most ${pathsMaxCount}. / is everything`),
  format: z.enum(['tar', 'zip']).default('tar').describe('tar keeps owners, modes and hard links; zip keeps modes'),
  ...fromRepositoryShape,
});

const bytes = (mediaType: string) => ({ [mediaType]: { schema: z.string() } });

/** Sends files and folders of a snapshot as one archive. */
export function addJobArchiveRoute(
  routes: Routes,
  { database, workers, downloads }: BrowseDeps & { readonly downloads: DownloadSlots },
): void {
  routes.get(
    '/jobs/:id/archive',
    {
      config: { access: 'operator' },
      exposeHeadRoute: false,
      schema: {
        tags: ['files'],
        security: [{ bearer: [] }],
        summary: 'Read files and folders of a backup as one archive',
        description:
          'Made while it is sent: its size is not known before, and a connection that ends early means that it is not whole. What cannot be put ' +
          'into an archive safely is left out and named in HOLDFAST-LEFT-OUT.txt at its end. Each is an event of the log (backup.content_read).',
        params: idParamsSchema,
        querystring: querySchema,
        response: {
          200: { description: 'The archive', content: { ...bytes(mediaTypes.tar), ...bytes(mediaTypes.zip) } },
          ...browseProblems(),
        },
      },
    },
    async (request, reply) => {
      const { scope, subject } = callerOrThrow(request);
      const { paths, format, fromRepositoryId } = request.query;
      const snapshot = await browsedSnapshot(database.client, scope, request.params.id, fromRepositoryId);
      reply.raw.once('close', downloads.take(subject));
      const { repositoryId, snapshotId, backupJobId, workerLabel } = snapshot;
      const answer = await workers.open({
        path: '/archive',
        repositoryId,
        workerLabel,
        query: { snapshotId, paths, format },
        signal: untilLeft(reply),
      });
      await noteContentRead(database, snapshot, { by: subject, as: format, paths });
      return sendDownload(reply, answer, {
        'content-type': mediaTypes[format],
        'content-disposition': `attachment; filename="backup-${backupJobId}.${format}"`,
      });
    },
  );
}
