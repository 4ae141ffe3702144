import { progressSchema } from '@holdfast/jobs/progress';
import { z } from 'zod';

/** The fields that the tour reads of what the API answers; there may be more. */
export const finalStatuses: readonly string[] = ['completed', 'completed_with_warnings', 'failed', 'cancelled'];

export const runSchema = z.looseObject({
  id: z.string(),
  status: z.string(),
  attempt: z.number(),
  duration: z.number().nullable(),
  errorCode: z.string().nullable(),
  errorMessage: z.string().nullable(),
});
export type Run = z.infer<typeof runSchema>;

export const backupRunSchema = runSchema.extend({
  snapshotId: z.string().nullable(),
  fileSize: z.number().nullable(),
  checksum: z.string().nullable(),
  metadata: z.looseObject({}).nullable(),
});
export type BackupRun = z.infer<typeof backupRunSchema>;

export const recoveryRunSchema = runSchema.extend({ recoveredRecords: z.number().nullable() });
export const detailedRunSchema = runSchema.extend({ details: z.looseObject({}).nullable() });

export const entitySchema = z.looseObject({ id: z.string(), name: z.string() });
export const configSchema = z.looseObject({
  id: z.string(),
  name: z.string(),
  repositoryId: z.string(),
  source: z.unknown(),
  storageOptions: z.unknown(),
  isActive: z.boolean(),
});
export type Config = z.infer<typeof configSchema>;

export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.looseObject({ items: z.array(item) });
}

export const progressEventSchema = z.looseObject({ subjectId: z.string(), progress: progressSchema });
export const stateEventSchema = z.looseObject({ subjectId: z.string(), type: z.string() });
