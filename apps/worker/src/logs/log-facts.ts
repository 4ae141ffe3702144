import type { JsonObject } from '@holdfast/database/json-object';
import type { PlannedSource } from '@holdfast/sources/logs/planned-source';
import { printablePath } from '@holdfast/sources/system-path';

/** A row is read whole by every list of the API; the manifest in the snapshot has all. */
const maxListed = 100;

/** What the row of a backup of logs says of its files: counts of all, and the first hundred that had something new. */
export function factsOfLogs({ plan, shown, unmatchedGlobs }: PlannedSource, startedAt: Date): JsonObject {
  const run = startedAt.toISOString();
  const picked = shown.filter(({ entry }) => entry.state === 'present' && entry.run === run && entry.toByte > entry.fromByte);
  return {
    fileCount: shown.length,
    copyCount: shown.filter(({ entry }) => entry.state === 'copy').length,
    incompleteCount: shown.filter(({ entry }) => entry.state === 'incomplete').length,
    goneCount: plan.entries.filter(({ state }) => state === 'gone').length,
    pickedUpCount: picked.length,
    pickedUpBytes: picked.reduce((sum, { entry }) => sum + entry.toByte - entry.fromByte, 0),
    pickedUp: picked.slice(0, maxListed).map(({ entry }) => ({
      path: printablePath(entry.path),
      log: entry.log,
      device: entry.device,
      inode: entry.inode,
      fromByte: entry.fromByte,
      toByte: entry.toByte,
      headSha256: entry.head.sha256,
      modifiedAt: new Date(Number(BigInt(entry.modified) / 1_000_000n)).toISOString(),
      encoding: entry.encoding ?? null,
    })),
    unmatchedGlobs: [...unmatchedGlobs],
  };
}
