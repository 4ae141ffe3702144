import { appendEvent } from '@holdfast/database/events';
import { inTransaction } from '@holdfast/database/in-transaction';
import type { JsonObject } from '@holdfast/database/json-object';
import type { Database } from '@holdfast/database/open-database';
import type { BrowsedSnapshot } from './browsed-snapshot.ts';

/** Of the paths of an archive, the first of these are in the event. */
const notedPathsMaxCount = 100;

/** Notes in the event log who reads what out of a backup, before the first byte leaves: content never goes where nobody knows of. */
export async function noteContentRead(
  database: Database,
  { backupJobId, businessEntityId, repositoryId, snapshotId }: BrowsedSnapshot,
  read: {
    readonly by: string;
    readonly as: 'file' | 'tar' | 'zip';
    readonly paths: readonly string[];
    readonly range?: string | undefined;
  },
): Promise<void> {
  const { by, as, range = null } = read;
  const paths = read.paths.slice(0, notedPathsMaxCount);
  const data: JsonObject = { by, as, paths, pathCount: read.paths.length, range, repositoryId, snapshotId };
  const event = { businessEntityId, type: 'backup.content_read', subjectKind: 'backup', subjectId: backupJobId, data } as const;
  await inTransaction(database, async (tx) => void (await appendEvent(tx, event)));
}
