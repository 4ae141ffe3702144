import type { Prisma, RecoveryJob, RecoveryType } from '../generated/client.ts';
import { configLabelOf, findUsableBackup, initialRun, type BackupJobRow } from './backup-jobs.ts';
import { jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { createdBetween, readPage, type Page, type PageRequest } from './page.ts';
import { secretRepositoryColumns } from './repositories.ts';
import type { RepositoryRow } from './repositories.ts';
import type { RunStatus } from './run-states.ts';
import { appendRunEvent } from './runs.ts';
import { found, inScope, type Scope } from './scope.ts';
import { copiesInRepository } from './snapshot-copies.ts';
import { seal, unseal, type MasterKey } from './sealed-secret.ts';

/** A recovery as it may be shown: without the password of its target. */
export type RecoveryJobRow = Omit<RecoveryJob, 'sealedTargetPassword'>;

const omit = { sealedTargetPassword: true } as const;

export interface RecoveryJobInput {
  readonly backupJobId: string;
  /** A repository that holds a copy, to be read instead of the backup's own. */
  readonly fromRepositoryId?: string | undefined;
  readonly recoveryType: RecoveryType;
  /** Validated by the caller: absolute and inside the target roots, or the URL of an allowed server. */
  readonly targetLocation: string;
  /** Validated by libs/sources' recovery options. */
  readonly options: JsonObject;
  /** The password for the server of the target, and what seals it; it opens for this target only. */
  readonly targetPassword?: { readonly password: string; readonly masterKey: MasterKey } | undefined;
  /** The label that a worker has to carry, null for any; that of the backup's config when it is left out, also when that changes. */
  readonly workerLabel?: string | null | undefined;
  /** False: the job waits as pending until it is executed. */
  readonly execute: boolean;
}

/** Codes: not_found, run_not_finished, backup_not_usable. */
export async function createRecoveryJob(tx: Transaction, scope: Scope, input: RecoveryJobInput): Promise<RecoveryJobRow> {
  const backup = await findUsableBackup(tx, scope, input.backupJobId, input.fromRepositoryId);
  const { businessEntityId, id: backupJobId } = backup;
  const { recoveryType, targetLocation, targetPassword: given } = input;
  const options = jsonInput(input.options);
  const context = secretContext({ businessEntityId, targetLocation });
  const sealedTargetPassword = given === undefined ? null : seal(given.masterKey, context, given.password);
  const target = { targetLocation, options, sealedTargetPassword };
  const fromRepositoryId = input.fromRepositoryId ?? null;
  const route = {
    workerLabel: input.workerLabel === undefined ? await configLabelOf(tx, backup.backupConfigId) : input.workerLabel,
    ownWorkerLabel: input.workerLabel !== undefined,
  };
  const data = { businessEntityId, backupJobId, fromRepositoryId, recoveryType, ...target, ...route, ...initialRun(input.execute) };
  const row = await tx.recoveryJob.create({ data, omit });
  await appendRunEvent(tx, 'recovery', row, input.execute ? 'queued' : 'accepted', { backupJobId, fromRepositoryId, recoveryType });
  return row;
}

/** Code: not_found. */
export async function findRecoveryJob(rows: Transaction, scope: Scope, id: string): Promise<RecoveryJobRow> {
  return found(await rows.recoveryJob.findFirst({ where: { AND: [{ id }, inScope(scope)] }, omit }), 'recovery job', id);
}

export interface RecoveryJobFilter {
  readonly entityId?: string | undefined;
  readonly backupJobId?: string | undefined;
  readonly status?: RunStatus | undefined;
  readonly type?: RecoveryType | undefined;
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}

export async function listRecoveryJobs(
  rows: Transaction,
  scope: Scope,
  filter: RecoveryJobFilter,
  page: PageRequest,
): Promise<Page<RecoveryJobRow>> {
  const where: Prisma.RecoveryJobWhereInput = {
    ...inScope(scope, filter.entityId),
    ...createdBetween(filter.from, filter.to),
    ...(filter.backupJobId === undefined ? {} : { backupJobId: filter.backupJobId }),
    ...(filter.status === undefined ? {} : { status: filter.status }),
    ...(filter.type === undefined ? {} : { recoveryType: filter.type }),
  };
  return readPage(page, where, (query) => rows.recoveryJob.findMany({ ...query, omit }));
}

/** A recovery with what a worker needs for it; the backup's repository and snapshot are those that are to be read. */
export type RecoveryWork = RecoveryJobRow & { readonly backupJob: BackupJobRow & { readonly repository: RepositoryRow } };

/** Code: not_found. */
export async function findRecoveryWork(rows: Transaction, id: string): Promise<RecoveryWork> {
  const repository = { omit: secretRepositoryColumns } as const;
  const include = { backupJob: { include: { repository } }, fromRepository: repository } as const;
  const { fromRepository, ...work } = found(await rows.recoveryJob.findUnique({ where: { id }, include, omit }), 'recovery job', id);
  const { backupJob } = work;
  if (fromRepository === null || fromRepository.id === backupJob.repositoryId) return work;
  const snapshotId = (await copiesInRepository(rows, fromRepository.id, [backupJob.id])).get(backupJob.id) ?? null;
  return { ...work, backupJob: { ...backupJob, repositoryId: fromRepository.id, repository: fromRepository, snapshotId } };
}

/** The password with which a worker reaches the target's server; null when it has none. Codes: not_found, secret_unreadable. */
export async function targetPassword(rows: Transaction, id: string, masterKey: MasterKey): Promise<string | null> {
  const row = found(await rows.recoveryJob.findUnique({ where: { id } }), 'recovery job', id);
  return row.sealedTargetPassword === null ? null : unseal(masterKey, secretContext(row), row.sealedTargetPassword);
}

function secretContext({ businessEntityId, targetLocation }: Pick<RecoveryJob, 'businessEntityId' | 'targetLocation'>): string {
  return `recovery_jobs.sealedTargetPassword:${businessEntityId}:${targetLocation}`;
}
