import type { BackupJobRow } from '@holdfast/database/backup-jobs';
import { findBaseConfigId, listChainBackups, type ChainBackup } from '@holdfast/database/chain-backups';
import type { Transaction } from '@holdfast/database/open-database';
import type { Repository } from '@holdfast/engine/repository';
import { openReading, type RepositoryReading } from '@holdfast/engine/repository-reading';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { factsOf, type BackupFacts } from '@holdfast/policy/recovery-facts';
import type { RunKind } from '@holdfast/database/run-kinds';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { secretRepositoryColumns } from '@holdfast/database/repositories';

/** The backups that a recovery of one of them may need, and where their snapshots are. */
export interface JobChain {
  /** The oldest first. */
  readonly facts: readonly BackupFacts[];
  readonly backups: ReadonlyMap<string, ChainBackup>;
}

/** `fromRepositoryId`: where copies of all of them are to be read, when it is not their own repositories. */
export async function chainOfJob(
  rows: Transaction,
  { backupConfigId }: Pick<BackupJobRow, 'backupConfigId'>,
  fromRepositoryId?: string,
): Promise<JobChain> {
  const backups = await listChainBackups(rows, await findBaseConfigId(rows, '*', backupConfigId), fromRepositoryId);
  const facts = backups.flatMap(({ jobId, metadata }) => {
    const found = factsOf(metadata);
    return found === null ? [] : [{ jobId, facts: found }];
  });
  return { facts, backups: new Map(backups.map((backup) => [backup.jobId, backup])) };
}

/** Where a snapshot is, and the one lock and index with which it is read. */
export interface ChainSnapshot {
  readonly repository: Repository;
  readonly snapshotId: string;
  readonly reading: RepositoryReading;
}

export interface ChainSnapshots {
  /** Codes: backup_not_usable, those of openRepositoryOf and openReading. */
  of(jobId: string): Promise<ChainSnapshot>;
}

/**
 * Snapshots of a chain, which can be thousands of WAL: each repository is opened, locked and its index read once, until `use` has ended.
 * Configs may have changed their storage meanwhile, so there may be several.
 */
export async function withChainSnapshots<T>(
  run: RunInHand<RunKind>,
  chain: JobChain,
  use: (snapshots: ChainSnapshots) => Promise<T>,
): Promise<T> {
  await using snapshots = new OpenedSnapshots(run, chain);
  return await use(snapshots);
}

class OpenedSnapshots implements ChainSnapshots, AsyncDisposable {
  readonly #run: RunInHand<RunKind>;
  readonly #backups: ReadonlyMap<string, ChainBackup>;
  readonly #opened = new Map<string, Omit<ChainSnapshot, 'snapshotId'>>();
  readonly #closing = new AsyncDisposableStack();

  constructor(run: RunInHand<RunKind>, { backups }: JobChain) {
    this.#run = run;
    this.#backups = backups;
  }

  async of(jobId: string): Promise<ChainSnapshot> {
    const backup = this.#backups.get(jobId);
    if (backup === undefined) throw new HoldfastError('backup_not_usable', `backup job ${jobId} has no snapshot any more`);
    const { repositoryId, snapshotId } = backup;
    const opened = this.#opened.get(repositoryId) ?? (await this.#open(repositoryId));
    this.#opened.set(repositoryId, opened);
    return { ...opened, snapshotId };
  }

  async #open(repositoryId: string): Promise<Omit<ChainSnapshot, 'snapshotId'>> {
    const row = await this.#run.context.database.client.repository.findUniqueOrThrow({
      where: { id: repositoryId },
      omit: secretRepositoryColumns,
    });
    const cached = this.#run.claim.kind === 'recovery';
    const repository = this.#closing.use(await openRepositoryOf(this.#run, row, { create: false, warm: false, cached }));
    const reading = this.#closing.use(await openReading({ ...lockOptionsOf(this.#run), repository }));
    return { repository, reading };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closing.disposeAsync();
  }
}
