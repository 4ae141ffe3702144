import type { Prisma, RecoveryJob, RecoveryType } from '../generated/client.ts';
import { findUsableBackup, initialRun, type BackupJobRow } from './backup-jobs.ts';
import { jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { createdBetween, readPage, type Page, type PageRequest } from './page.ts';
import type { RepositoryRow } from './repositories.ts';
import type { RunStatus } from './run-states.ts';
import { appendRunEvent } from './runs.ts';
import { found, inScope, type Scope } from './scope.ts';

export type RecoveryJobRow = RecoveryJob;

export interface RecoveryJobInput {
  readonly backupJobId: string;
  readonly recoveryType: RecoveryType;
  /** Validated by the caller: absolute and inside the target roots. */
  readonly targetLocation: string;
  /** Validated by libs/sources' recovery options. */
  readonly options: JsonObject;
  /** False: the job waits as pending until it is executed. */
  readonly execute: boolean;
}

/** Codes: not_found, run_not_finished, backup_not_usable. */
export async function createRecoveryJob(tx: Transaction, scope: Scope, input: RecoveryJobInput): Promise<RecoveryJobRow> {
  const { businessEntityId, id: backupJobId } = await findUsableBackup(tx, scope, input.backupJobId);
  const { recoveryType, targetLocation } = input;
  const options = jsonInput(input.options);
  const data = { businessEntityId, backupJobId, recoveryType, targetLocation, options, ...initialRun(input.execute) };
  const row = await tx.recoveryJob.create({ data });
  await appendRunEvent(tx, 'recovery', row, input.execute ? 'queued' : 'accepted', { backupJobId, recoveryType });
  return row;
}

/** Code: not_found. */
export async function findRecoveryJob(rows: Transaction, scope: Scope, id: string): Promise<RecoveryJobRow> {
  return found(await rows.recoveryJob.findFirst({ where: { AND: [{ id }, inScope(scope)] } }), 'recovery job', id);
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
  return readPage(page, where, (query) => rows.recoveryJob.findMany(query));
}

/** A recovery with what a worker needs for it. */
export type RecoveryWork = RecoveryJobRow & { readonly backupJob: BackupJobRow & { readonly repository: RepositoryRow } };

/** Code: not_found. */
export async function findRecoveryWork(rows: Transaction, id: string): Promise<RecoveryWork> {
  const include = { backupJob: { include: { repository: { omit: { sealedPassword: true } } } } } as const;
  return found(await rows.recoveryJob.findUnique({ where: { id }, include }), 'recovery job', id);
}
