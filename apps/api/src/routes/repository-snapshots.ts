import { z } from 'zod';
import { listSnapshotBackups, type BackupJobRow } from '@holdfast/database/backup-jobs';
import { findRepository } from '@holdfast/database/repositories';
import { backupTypes } from '../check-config.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { idParamsSchema, listQuerySchema, pageSchema, queryBooleanSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { count, iso } from '../schemas/run-view.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';

const snapshotSchema = z
  .object({
    snapshotId: z.string().nullable().describe('Null once it is gone'),
    backupJobId: z.string().describe('The backup that is verified and recovered by it'),
    backupConfigId: z.string(),
    backupType: z.enum(backupTypes),
    adopted: z.boolean().describe('Whether an adoption found it; otherwise a backup job of ours made it'),
    time: z.string().nullable(),
    hostname: z.string().nullable(),
    username: z.string().nullable(),
    paths: z.array(z.string()).nullable().describe('The first hundred of an adopted one; null where the config of the backup says it'),
    pathCount: z.number().int().nullable(),
    tags: z.array(z.string()).nullable().describe('As paths'),
    sizeBytes: z.number().nullable().describe('Of all files in it; null when the program that wrote it did not say'),
    treeId: z.string().nullable().describe('Equal for equal content'),
    original: z.string().nullable().describe('The snapshot of which this is a rewritten one or a copy'),
    programVersion: z.string().nullable().describe('What wrote it'),
    expiredAt: z.string().nullable(),
  })
  .meta({ id: 'RepositorySnapshot' });

/** What an adoption and a backup note in a row; a field that is not as it should be is not known. */
const metadataSchema = z.object({
  hostname: z.string().nullable().catch(null),
  snapshot: z
    .object({
      username: z.string().nullable(),
      paths: z.array(z.string()),
      pathCount: z.number().int(),
      tags: z.array(z.string()),
      original: z.string().nullable(),
      programVersion: z.string().nullable(),
    })
    .nullable()
    .catch(null),
});

function snapshotView(row: BackupJobRow) {
  const { id, snapshotId, backupConfigId, backupType, fileSize, checksum } = row;
  const { hostname = null, snapshot = null } = metadataSchema.safeParse(row.metadata).data ?? {};
  return {
    snapshotId,
    backupJobId: id,
    backupConfigId,
    backupType,
    adopted: row.adoptionJobId !== null,
    time: iso(row.startTime),
    hostname,
    username: snapshot?.username ?? null,
    paths: snapshot?.paths ?? null,
    pathCount: snapshot?.pathCount ?? null,
    tags: snapshot?.tags ?? null,
    sizeBytes: count(fileSize),
    treeId: checksum,
    original: snapshot?.original ?? null,
    programVersion: snapshot?.programVersion ?? null,
    expiredAt: iso(row.expiredAt),
  };
}

export function addRepositorySnapshotRoutes(routes: Routes, { database }: ServerDeps): void {
  routes.get(
    '/repositories/:id/snapshots',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['configs'],
        security: [{ bearer: [] }],
        summary: 'List the snapshots of a repository, newest first',
        description: 'As the rows know them; POST /repositories/:id/adopt looks what others have done meanwhile.',
        params: idParamsSchema,
        querystring: listQuerySchema
          .pick({ limit: true, cursor: true })
          .extend({ expired: queryBooleanSchema.optional().describe('With those that are gone') }),
        response: { 200: pageSchema(snapshotSchema), ...problemResponses('request_invalid', 'not_found') },
      },
    },
    async (request) => {
      const { id } = await findRepository(database.client, callerOrThrow(request).scope, request.params.id);
      const { limit, cursor, expired = false } = request.query;
      const { items, nextCursor } = await listSnapshotBackups(database.client, id, { expired }, { limit, cursor });
      return { items: items.map(snapshotView), nextCursor };
    },
  );
}
