import { z } from 'zod';
import { backupMetrics, recoveryMetrics, type RunMetrics } from '@holdfast/database/metrics';
import { callerOrThrow } from '../plugins/authentication.ts';
import { listQuerySchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import { filterAndPage } from '../schemas/run-list.ts';
import { iso, runStatuses } from '../schemas/run-view.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';

export const byStatusSchema = z.record(z.enum(runStatuses), z.number().int());

const runMetricsShape = {
  total: z.number().int(),
  byStatus: byStatusSchema,
  successRate: z.number().nullable().describe('Completed of those that completed or failed, 0 to 1; null when there are none'),
  averageDurationMs: z.number().nullable(),
  p95DurationMs: z.number().nullable(),
};

const backupMetricsSchema = z
  .object({
    ...runMetricsShape,
    totalSizeBytes: z.number().describe('Bytes of the files in all completed backups, before deduplication'),
    lastSuccess: z.array(z.object({ backupConfigId: z.string(), name: z.string(), at: z.string().nullable() })),
  })
  .meta({ id: 'BackupMetrics' });

const recoveryMetricsSchema = z
  .object({ ...runMetricsShape, recoveredRecords: z.number(), lastSuccessAt: z.string().nullable() })
  .meta({ id: 'RecoveryMetrics' });

function runMetricsView({ total, byStatus, successRate, averageDurationMs, p95DurationMs }: RunMetrics) {
  return { total, byStatus, successRate, averageDurationMs, p95DurationMs };
}

const common = { tags: ['service'], security: [{ bearer: [] }] };
const querySchema = listQuerySchema.pick({ entityId: true, from: true, to: true });

export function addMetricsRoutes(routes: Routes, { database }: ServerDeps): void {
  routes.get(
    '/metrics/backup',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Counts, sizes and durations of backups',
        querystring: querySchema,
        response: { 200: backupMetricsSchema, ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const { filter } = filterAndPage({ limit: 1, ...request.query });
      const metrics = await backupMetrics(database.client, callerOrThrow(request).scope, filter);
      return {
        ...runMetricsView(metrics),
        totalSizeBytes: Number(metrics.totalSizeBytes),
        lastSuccess: metrics.lastSuccess.map(({ backupConfigId, name, at }) => ({ backupConfigId, name, at: iso(at) })),
      };
    },
  );

  routes.get(
    '/metrics/recovery',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Counts and durations of recoveries',
        querystring: querySchema,
        response: { 200: recoveryMetricsSchema, ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const { filter } = filterAndPage({ limit: 1, ...request.query });
      const metrics = await recoveryMetrics(database.client, callerOrThrow(request).scope, filter);
      return {
        ...runMetricsView(metrics),
        recoveredRecords: Number(metrics.recoveredRecords),
        lastSuccessAt: iso(metrics.lastSuccessAt),
      };
    },
  );
}
