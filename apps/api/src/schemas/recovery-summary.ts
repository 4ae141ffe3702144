import { z } from 'zod';

const count = z.int().min(0);
const bytes = z.number().int().min(0);

const plannedEntriesSchema = z.object({
  count,
  bytes: bytes.describe('As the snapshot has them for written and replaced, as they are there for kept and deleted'),
  first: z.array(z.object({ path: z.string(), bytes })).describe('At most 100, in the order of the walk'),
});

/** What a recovery of files did, or would do; see the worker's recovery-summary.ts. */
const recoverySummarySchema = z
  .object({
    dryRun: z.boolean().describe('true: nothing was done, and the rest tells what would be'),
    written: count.describe('Files, links and devices where nothing was'),
    replaced: count.describe('Those that took the place of another'),
    kept: count.describe('Those that were there and stayed, by the policy for what is there'),
    deleted: count.describe('What was there and is not in the snapshot, with folders and what was in them'),
    folders: count.describe('Folders that were made or got their look; of a dry run those that are not there yet'),
    failed: count.describe('Entries that are damaged in the repository, or were refused by the target'),
    bytes: bytes.describe('Content that was written'),
    keptBytes: bytes,
    deletedBytes: bytes,
    notPossibleCount: count.describe('The failed ones, and what was selected and cannot be'),
    notPossible: z
      .array(z.object({ path: z.string(), code: z.string(), reason: z.string() }))
      .describe('At most 100: paths in the target, or in the snapshot for what never came to have a place there'),
    plan: z
      .object({
        written: plannedEntriesSchema,
        replaced: plannedEntriesSchema,
        kept: plannedEntriesSchema,
        deleted: plannedEntriesSchema,
        foldersWritten: count,
        spaces: z
          .array(z.object({ path: z.string(), neededBytes: bytes, freeBytes: bytes }))
          .describe('For each file system that would be written to'),
      })
      .optional()
      .describe('Of a dry run'),
  })
  .meta({ id: 'RecoverySummary' });

/** What a recovery's row notes while it runs and when it is done; other kinds of recovery have fields of their own. */
export const recoveryMetadataSchema = z
  .looseObject({
    path: z.string().optional().describe('The folder that was recovered to'),
    resumed: z.boolean().optional().describe('Whether a former attempt had begun to fill it'),
    summary: recoverySummarySchema.optional().describe('Of files, once the recovery has ended'),
  })
  .nullable();
