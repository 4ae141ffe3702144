import type { BackupJobRow } from '@holdfast/database/backup-jobs';
import { findBaseConfigId, listChainBackups, type ChainBackup } from '@holdfast/database/chain-backups';
import type { Transaction } from '@holdfast/database/open-database';
import type { Repository } from '@holdfast/engine/repository';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { factsOf, type BackupFacts } from '@holdfast/policy/recovery-facts';
import type { RunKind } from '@holdfast/database/run-kinds';
import { openRepositoryOf } from '../open-repository.ts';
import type { RunInHand } from '../run-with-claim.ts';

/** The backups that a recovery of one of them may need, and where their snapshots are. */
export interface JobChain {
  /** The oldest first. */
  readonly facts: readonly BackupFacts[];
  readonly backups: ReadonlyMap<string, ChainBackup>;
}

export async function chainOfJob(rows: Transaction, { backupConfigId }: Pick<BackupJobRow, 'backupConfigId'>): Promise<JobChain> {
  const backups = await listChainBackups(rows, await findBaseConfigId(rows, '*', backupConfigId));
  const facts = backups.flatMap(({ jobId, metadata }) => {
    const found = factsOf(metadata);
    return found === null ? [] : [{ jobId, facts: found }];
  });
  return { facts, backups: new Map(backups.map((backup) => [backup.jobId, backup])) };
}

/** Snapshots of a chain, whose configs may have changed their storage meanwhile: each repository is opened once. */
export class ChainSnapshots implements AsyncDisposable {
  readonly #run: RunInHand<RunKind>;
  readonly #backups: ReadonlyMap<string, ChainBackup>;
  readonly #opened = new Map<string, Repository>();

  constructor(run: RunInHand<RunKind>, { backups }: JobChain) {
    this.#run = run;
    this.#backups = backups;
  }

  /** Codes: backup_not_usable, those of openRepositoryOf. */
  async of(jobId: string): Promise<{ readonly repository: Repository; readonly snapshotId: string }> {
    const backup = this.#backups.get(jobId);
    if (backup === undefined) throw new HoldfastError('backup_not_usable', `backup job ${jobId} has no snapshot any more`);
    const { repositoryId, snapshotId } = backup;
    const known = this.#opened.get(repositoryId);
    if (known !== undefined) return { repository: known, snapshotId };
    const row = await this.#run.context.database.client.repository.findUniqueOrThrow({
      where: { id: repositoryId },
      omit: { sealedPassword: true },
    });
    const repository = await openRepositoryOf(this.#run, row, { create: false, warm: false });
    this.#opened.set(repositoryId, repository);
    return { repository, snapshotId };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const repository of this.#opened.values()) await repository.close();
  }
}
