import type { BackupWork } from '@holdfast/database/backup-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import type { BackupStoring } from '../backup-storing.ts';
import type { RunInHand } from '../run-with-claim.ts';

/** How sources of one type are backed up. */
export interface BackupWay<S> {
  /** Takes one snapshot, and says what the row is to say of it. Codes: those of the source, of the engine and of the storage. */
  backUp(run: RunInHand<'backup'>, work: BackupWork, source: S, storing: BackupStoring): Promise<RunOutcome<'backup'>>;
  /**
   * Adds to the outcome what is known when the snapshot is there, also where a former attempt wrote it and died. Leaves it as it is where
   * there is nothing to add.
   */
  complete?(
    run: RunInHand<'backup'>,
    work: BackupWork,
    outcome: RunOutcome<'backup'>,
    storing: BackupStoring,
  ): Promise<RunOutcome<'backup'>>;
}
