import type { RecoveryWork } from '@holdfast/database/recovery-jobs';
import { writeResult } from '@holdfast/database/run-results';
import { commitUnderFence } from '@holdfast/database/runs';
import { errorCodes, type ErrorCode } from '@holdfast/errors/error-codes';
import { z } from 'zod';
import type { RunInHand } from '../run-with-claim.ts';

const restoredSchema = z.object({
  tableCount: z.number(),
  bytes: z.number(),
  failed: z
    .array(z.object({ what: z.string(), code: z.custom<ErrorCode>((code) => String(code) in errorCodes), reason: z.string() }))
    .readonly(),
  warnings: z.array(z.string()).readonly(),
});

/**
 * In the metadata of a recovery's row while it runs, so that its next attempt does not take its own work for somebody else's:
 *
 *     { "target": { "location": "…" } }                    SQLite, Redis: nothing was there, and then it began to write
 *     { "target": { "location": "…", "restored": {…} } }   MariaDB, MySQL: all is there, with these counts, and only the run is not ended
 */
const noteSchema = z.object({ target: z.object({ location: z.string(), restored: restoredSchema.optional() }) });
type TargetNote = z.infer<typeof noteSchema>['target'];

/** What a former attempt has noted of this very target. */
export function notedTarget({ metadata, targetLocation }: Pick<RecoveryWork, 'metadata' | 'targetLocation'>): TargetNote | undefined {
  const note = noteSchema.safeParse(metadata).data?.target;
  return note?.location === targetLocation ? note : undefined;
}

/** Codes: run_superseded, database_unreachable. */
export async function noteTarget({ context, claim }: RunInHand<'recovery'>, target: TargetNote): Promise<void> {
  await commitUnderFence(context.database, claim, (tx) => writeResult(tx, 'recovery', claim.id, { metadata: { target } }));
}
