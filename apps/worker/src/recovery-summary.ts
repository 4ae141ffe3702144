import type { JsonObject } from '@holdfast/database/json-object';
import type { RestoreResult } from '@holdfast/engine/restorer';

/** A row is read whole by every list; who needs more than the first hundred recovers a smaller part. */
const maxNotPossibleListed = 100;

/**
 * What a recovery of files did, or by a dry run would do, as the row and the API tell it: counts of entries that are no folders
 * (`deleted` counts folders too), bytes of files.
 */
export function recoverySummary(result: RestoreResult): JsonObject {
  const { filesRestored, otherRestored, hardLinksRestored, replacedCount, plan } = result;
  const replaced = plan?.replaced.count ?? replacedCount;
  return {
    dryRun: plan !== undefined,
    written: plan?.written.count ?? filesRestored + otherRestored + hardLinksRestored - replacedCount,
    replaced,
    kept: result.keptCount,
    deleted: result.removedCount,
    folders: plan?.foldersWritten ?? result.directoriesRestored,
    failed: result.failedCount,
    bytes: result.bytesRestored,
    keptBytes: result.keptBytes,
    deletedBytes: result.removedBytes,
    notPossibleCount: result.notPossibleCount,
    notPossible: result.notPossible.slice(0, maxNotPossibleListed).map((entry) => ({ ...entry })),
    ...(plan === undefined ? {} : { plan: { ...plan } }),
  };
}
