import type { BackupVerification, Prisma, VerificationType } from '../generated/client.ts';
import { configLabelOf, findUsableBackup, initialRun, type BackupJobRow } from './backup-jobs.ts';
import { jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { createdBetween, readPage, type Page, type PageRequest } from './page.ts';
import { secretRepositoryColumns } from './repositories.ts';
import type { RepositoryRow } from './repositories.ts';
import type { RunStatus } from './run-states.ts';
import { appendRunEvent } from './runs.ts';
import { found, inScope, type Scope } from './scope.ts';

export type VerificationRow = BackupVerification;

/** Makes a verification, owed at once. Codes: not_found, run_not_finished, backup_not_usable. */
export async function createVerification(
  tx: Transaction,
  scope: Scope,
  input: {
    readonly backupJobId: string;
    readonly verificationType: VerificationType;
    /** Validated by libs/sources' verification options. */
    readonly options?: JsonObject | undefined;
  },
): Promise<VerificationRow> {
  const { businessEntityId, id: backupJobId, backupConfigId } = await findUsableBackup(tx, scope, input.backupJobId);
  const workerLabel = await configLabelOf(tx, backupConfigId);
  const options = input.options === undefined ? {} : { options: jsonInput(input.options) };
  const data = { businessEntityId, backupJobId, verificationType: input.verificationType, workerLabel, ...options, ...initialRun(true) };
  const row = await tx.backupVerification.create({ data });
  await appendRunEvent(tx, 'verify', row, 'queued', { backupJobId, verificationType: row.verificationType });
  return row;
}

/** Code: not_found. */
export async function findVerification(rows: Transaction, scope: Scope, id: string): Promise<VerificationRow> {
  return found(await rows.backupVerification.findFirst({ where: { AND: [{ id }, inScope(scope)] } }), 'verification', id);
}

export interface VerificationFilter {
  readonly entityId?: string | undefined;
  readonly backupJobId?: string | undefined;
  readonly status?: RunStatus | undefined;
  readonly type?: VerificationType | undefined;
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}

export async function listVerifications(
  rows: Transaction,
  scope: Scope,
  filter: VerificationFilter,
  page: PageRequest,
): Promise<Page<VerificationRow>> {
  const where: Prisma.BackupVerificationWhereInput = {
    ...inScope(scope, filter.entityId),
    ...createdBetween(filter.from, filter.to),
    ...(filter.backupJobId === undefined ? {} : { backupJobId: filter.backupJobId }),
    ...(filter.status === undefined ? {} : { status: filter.status }),
    ...(filter.type === undefined ? {} : { verificationType: filter.type }),
  };
  return readPage(page, where, (query) => rows.backupVerification.findMany(query));
}

/** A verification with what a worker needs for it. */
export type VerificationWork = VerificationRow & {
  readonly backupJob: BackupJobRow & { readonly repository: RepositoryRow; readonly backupConfig: { readonly options: unknown } };
};

/** Code: not_found. */
export async function findVerificationWork(rows: Transaction, id: string): Promise<VerificationWork> {
  const config = { select: { options: true } } as const;
  const include = { backupJob: { include: { repository: { omit: secretRepositoryColumns }, backupConfig: config } } } as const;
  return found(await rows.backupVerification.findUnique({ where: { id }, include }), 'verification', id);
}
