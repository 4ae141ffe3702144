import { z } from 'zod';
import { listReplicationSlots, type ListedSlot } from '@holdfast/database/replication-slots';
import { slotLevels } from '@holdfast/policy/slot-level';
import { callerOrThrow } from '../plugins/authentication.ts';
import { listQuerySchema, pageSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { count, iso } from '../schemas/run-view.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';

const slotSchema = z
  .object({
    id: z.string(),
    businessEntityId: z.string(),
    backupConfigId: z.string(),
    name: z.string().describe('As in pg_replication_slots'),
    server: z.string().describe('Where it was made, as host:port'),
    level: z
      .enum(slotLevels)
      .nullable()
      .describe('warning: keeps much; critical: about to be given up; lost: WAL is gone; null: not seen yet'),
    walStatus: z
      .string()
      .nullable()
      .describe('reserved, extended, unreserved or lost, as the server says; null when there is no such slot'),
    retainedBytes: z.number().nullable().describe('WAL that it makes the server keep'),
    safeBytes: z.number().nullable().describe('What may still be written until it is in danger; null without max_slot_wal_keep_size'),
    seenAt: z.string().nullable().describe('When the server said so'),
    checkedAt: z.string().nullable().describe('When a worker last tried to look'),
    errorCode: z.string().nullable().describe('Why the last look, or the drop, failed'),
    unwantedSince: z.string().nullable().describe('Since when no config needs it: it is to be dropped'),
    createdAt: z.string(),
  })
  .meta({ id: 'ReplicationSlot' });

function slotView(row: ListedSlot) {
  const { id, backupConfigId, name, server, level, walStatus, errorCode } = row;
  return {
    id,
    businessEntityId: row.backupConfig.businessEntityId,
    backupConfigId,
    name,
    server,
    level,
    walStatus,
    retainedBytes: count(row.retainedBytes),
    safeBytes: count(row.safeBytes),
    seenAt: iso(row.seenAt),
    checkedAt: iso(row.checkedAt),
    errorCode,
    unwantedSince: iso(row.unwantedSince),
    createdAt: row.createdAt.toISOString(),
  };
}

/** Slots are made and dropped by workers; here they are only looked at. */
export function addReplicationSlotRoutes(routes: Routes, { database }: ServerDeps): void {
  routes.get(
    '/replication-slots',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['configs'],
        security: [{ bearer: [] }],
        summary: 'List the replication slots that configs keep at PostgreSQL servers',
        description: 'As workers last saw them, those of deleted configs too until they are dropped.',
        querystring: listQuerySchema.omit({ from: true, to: true }),
        response: { 200: pageSchema(slotSchema), ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const { limit, cursor, ...filter } = request.query;
      const { items, nextCursor } = await listReplicationSlots(database.client, callerOrThrow(request).scope, filter, { limit, cursor });
      return { items: items.map(slotView), nextCursor };
    },
  );
}
