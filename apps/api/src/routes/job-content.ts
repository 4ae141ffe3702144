import { create as contentDisposition } from 'content-disposition';
import type { FastifyReply } from 'fastify';
import { lookup as mediaTypeOf } from 'mime-types';
import { z } from 'zod';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { fromRepositoryShape, snapshotPathSchema } from '../browse/browse-query.ts';
import { browsedSnapshot, untilLeft } from '../browse/browsed-snapshot.ts';
import type { DownloadSlots } from '../browse/download-slots.ts';
import { noteContentRead } from '../browse/note-content-read.ts';
import { sendDownload, sendHead } from '../browse/send-download.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { idParamsSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import type { BrowseDeps, Routes } from '../server-deps.ts';
import { browseProblems } from './job-files.ts';

/** A range is two numbers; a tag or a time is not longer. */
const conditionMaxChars = 200;
const condition = z.string().max(conditionMaxChars).optional();

const headersSchema = z.looseObject({
  range: condition.describe('One range of bytes, such as bytes=0-1023; of several the whole file is sent'),
  'if-range': condition.describe('The ETag that the part before had: the range is sent only if the file is still the same'),
  'if-none-match': condition.describe('304 when this is the ETag'),
});

const bytes = (description: string) => ({ description, content: { 'application/octet-stream': { schema: z.string() } } });

/** Sends one file of a snapshot, or a range of it. */
export function addJobContentRoute(
  routes: Routes,
  { database, workers, downloads }: BrowseDeps & { readonly downloads: DownloadSlots },
): void {
  routes.get(
    '/jobs/:id/files/content',
    {
      config: { access: 'operator' },
      schema: {
        tags: ['files'],
        security: [{ bearer: [] }],
        summary: 'Read one file of a backup',
        description:
          'The bytes of a regular file, each checked against its hash on the way. Ranges are answered with 206, and HEAD tells size and ETag. ' +
          'Each read is an event of the log (backup.content_read). When something breaks on the way, so does the connection.',
        params: idParamsSchema,
        querystring: z.strictObject({ path: snapshotPathSchema.describe('The file, absolute in the snapshot'), ...fromRepositoryShape }),
        headers: headersSchema,
        response: {
          200: bytes('The file'),
          206: bytes('The range'),
          304: z.undefined().describe('The file is the one of If-None-Match'),
          ...browseProblems(),
          ...problemResponses('range_not_satisfiable'),
        },
      },
    },
    async (request, reply) => {
      const { scope, subject } = callerOrThrow(request);
      const { path, fromRepositoryId } = request.query;
      const { range, 'if-range': ifRange, 'if-none-match': ifNoneMatch } = request.headers;
      const snapshot = await browsedSnapshot(database.client, scope, request.params.id, fromRepositoryId);
      const method = request.method === 'HEAD' ? 'HEAD' : 'GET';
      if (method === 'GET') reply.raw.once('close', downloads.take(subject));
      const { repositoryId, snapshotId, workerLabel } = snapshot;
      const query = { snapshotId, path, range, ifRange, ifNoneMatch };
      try {
        const answer = await workers.open({ method, path: '/content', repositoryId, workerLabel, query, signal: untilLeft(reply) });
        const headers = headersOf(path);
        if (method === 'HEAD') {
          sendHead(reply, answer, headers);
          return reply;
        }
        await noteContentRead(database, snapshot, { by: subject, as: 'file', paths: [path], range });
        return sendDownload(reply, answer, headers);
      } catch (error) {
        tellSize(reply, error);
        throw error;
      }
    },
  );
}

/** A client that asked beyond the end learns where that is. */
function tellSize(reply: FastifyReply, error: unknown): void {
  if (!isHoldfastError(error, 'range_not_satisfiable')) return;
  const { sizeBytes } = error.context;
  if (typeof sizeBytes === 'number') reply.header('content-range', `bytes */${sizeBytes}`);
}

/** By the name. It is never shown in place: what lies in a backup is not to run under this address. */
function headersOf(path: string): Readonly<Record<string, string>> {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return {
    'content-type': mediaTypeOf(name) || 'application/octet-stream',
    'content-disposition': contentDisposition(name.replaceAll('\\', '_')),
    'x-content-type-options': 'nosniff',
  };
}
