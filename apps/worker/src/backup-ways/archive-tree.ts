import { join } from 'node:path';
import type { RunOutcome } from '@holdfast/database/runs';
import { archive } from '@holdfast/engine/archiver';
import { openStatCache } from '@holdfast/engine/stat-cache/stat-cache';
import type { Source } from '@holdfast/sources/source';
import type { BackupStoring } from '../backup-storing.ts';
import { backupOutcome } from '../run-outcomes.ts';
import type { RunInHand } from '../run-with-claim.ts';

/** What a backup reads, and what its snapshot notes as left out. */
export interface OpenedSource {
  readonly source: Source;
  readonly excludes: readonly string[];
}

/** Stores what a source shows as one snapshot, and closes the source. Codes: those of archive and of the source. */
export async function archiveTree(
  { context, onProgress }: RunInHand<'backup'>,
  { source, excludes }: OpenedSource,
  storing: BackupStoring,
): Promise<RunOutcome<'backup'>> {
  try {
    const { repository } = storing.options;
    const parent = storing.parentOf(source.paths);
    const result = await archive({
      ...storing.options,
      source,
      ...(parent === undefined ? {} : { parent }),
      excludes,
      statCache: openStatCache({
        folder: join(context.config.scratchDir, 'stat-cache'),
        location: repository.storage.location,
        hostname: context.hostname,
        source,
      }),
      onProgress,
    });
    return backupOutcome(repository.storage.location, result, { hostname: context.hostname, parentId: parent?.id ?? null });
  } finally {
    await source.close();
  }
}
