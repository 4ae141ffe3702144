import { findUsableBackup, type BackupJobRow } from '@holdfast/database/backup-jobs';
import { findBaseConfigId, listChainBackups } from '@holdfast/database/chain-backups';
import type { Transaction } from '@holdfast/database/open-database';
import type { Scope } from '@holdfast/database/scope';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { factsOf } from '@holdfast/policy/recovery-facts';
import { planJobRecovery, recoveryTargetOf, type PointInTime } from '@holdfast/policy/recovery-request';
import { fieldError } from './problem.ts';
import { checkRows } from './rows-recovery.ts';
import { fileField, type FileAim } from './recovery-aim.ts';
import { z } from 'zod';

/** The fields of a recovery that have to fit the backup. */
export interface CheckedRecovery extends FileAim {
  readonly fromRepositoryId?: string | undefined;
  readonly recoveryType: 'full' | 'point_in_time' | 'selective';
  readonly rows?: unknown;
  readonly targetDatabase?: { readonly part?: string | undefined } | undefined;
  readonly targetSqlite?: { readonly part: string } | undefined;
  readonly targetServer?: { readonly kind: 'mysql' | 'redis'; readonly part: string } | undefined;
  readonly pointInTime?: PointInTime | undefined;
  readonly start: boolean;
  readonly window?: unknown;
  readonly tablespaces?: Readonly<Record<string, string>> | undefined;
}

/**
 * Holds a recovery against the backup that it is of; that of a physical one is planned, so that a target which cannot be reached is
 * refused before there is a row. Codes: not_found, run_not_finished, backup_not_usable, request_invalid, postgresql_target_uncovered,
 * postgresql_chain_broken.
 */
export async function checkAgainstBackup(tx: Transaction, scope: Scope, backupJobId: string, recovery: CheckedRecovery): Promise<void> {
  const { fromRepositoryId } = recovery;
  const job = await usableBackup(tx, scope, backupJobId, fromRepositoryId);
  if (recovery.window !== undefined && job.backupType !== 'logs') {
    throw refusal('window', `is for backups of logs; this one is of type ${job.backupType}`);
  }
  if (recovery.rows !== undefined) return checkRows(job.backupType);
  if (factsOf(job.metadata) === null) return checkOrdinary(job, recovery);
  if (recovery.targetSqlite !== undefined) throw refusal('targetSqlite', 'is for a part of an application; leave it out');
  if (recovery.targetDatabase !== undefined) {
    throw refusal(
      'targetDatabase',
      'is for logical backups: tables and single databases cannot be taken out of a physical one; send targetLocation',
    );
  }
  if (recovery.targetServer !== undefined) throw refusal('targetServer', 'is for parts of an application; send targetLocation');
  if (recovery.toOriginal) throw refusal('toOriginal', 'is for files that came from a folder; send targetLocation');
  if (recovery.recoveryType === 'selective') return checkNothingPhysical(recovery, 'is for full and point_in_time; leave it out');
  const field = fileField(recovery);
  if (field !== undefined && field !== 'overwrite') {
    throw refusal(field, 'is for files: a physical backup becomes a data folder as a whole; leave it out, or ask for selective');
  }
  if (recovery.overwrite !== false) throw refusal('overwrite', 'must be false: a cluster is never recovered over another one');
  const target = recovery.pointInTime === undefined ? null : recoveryTargetOf(recovery.pointInTime);
  const backups = await listChainBackups(tx, await findBaseConfigId(tx, scope, job.backupConfigId), fromRepositoryId);
  const facts = backups.flatMap(({ jobId, metadata }) => {
    const found = factsOf(metadata);
    return found === null ? [] : [{ jobId, facts: found }];
  });
  planJobRecovery(facts, job.id, target);
}

async function usableBackup(tx: Transaction, scope: Scope, backupJobId: string, fromRepositoryId: string | undefined) {
  try {
    return await findUsableBackup(tx, scope, backupJobId, fromRepositoryId);
  } catch (error) {
    if (fromRepositoryId === undefined || !isHoldfastError(error, 'backup_not_usable')) throw error;
    throw fieldError('backup_not_usable', [
      { field: 'fromRepositoryId', message: `${error.message}; see GET /jobs/${backupJobId}/copies for those that do` },
    ]);
  }
}

function checkOrdinary({ backupType, metadata }: BackupJobRow, recovery: CheckedRecovery): void {
  if (recovery.recoveryType === 'point_in_time') {
    throw refusal('recoveryType', 'must not be point_in_time: only physical backups of PostgreSQL can be recovered to a point in time');
  }
  checkNothingPhysical(recovery, 'is for physical backups of PostgreSQL; leave it out');
  if (recovery.toOriginal && backupType.startsWith('database')) {
    throw refusal('toOriginal', `is for files that came from a folder; this backup is of type ${backupType}: send targetLocation`);
  }
  const { targetDatabase, targetSqlite, targetServer } = recovery;
  if (targetServer !== undefined) checkPart('targetServer', targetServer.part, partsOf(metadata, targetServer.kind));
  if (targetSqlite !== undefined) checkPart('targetSqlite', targetSqlite.part, partsOf(metadata, 'sqlite'));
  if (targetDatabase === undefined) return;
  if (backupType === 'application_data') return checkPart('targetDatabase', targetDatabase.part, partsOf(metadata, 'postgresql'));
  if (backupType !== 'database_full') {
    throw refusal('targetDatabase', `is for backups of databases; this one is of type ${backupType}`);
  }
  if (targetDatabase.part !== undefined) throw refusal('targetDatabase.part', 'is for backups of an application; leave it out');
}

/** The names of the parts of one kind that an application's backup has, by its row. */
function partsOf(metadata: unknown, wanted: string): string[] {
  const parsed = storedPartsSchema.safeParse(metadata);
  return parsed.success ? parsed.data.parts.flatMap(({ name, kind }) => (kind === wanted ? [name] : [])) : [];
}

const storedPartsSchema = z.object({ parts: z.array(z.object({ name: z.string(), kind: z.string() })) });

function checkPart(field: string, part: string | undefined, known: readonly string[]): void {
  if (known.length === 0) throw refusal(field, 'is for a part of that kind; this backup has none');
  const names = known.join(', ');
  if (part === undefined) throw refusal(`${field}.part`, `is missing; name the part to recover: ${names}`);
  if (!known.includes(part)) throw refusal(`${field}.part`, `is no part of that kind in this backup; there is: ${names}`);
}

function checkNothingPhysical({ pointInTime, start, tablespaces }: CheckedRecovery, message: string): void {
  const given = { pointInTime: pointInTime !== undefined, start, tablespaces: tablespaces !== undefined };
  for (const [field, isGiven] of Object.entries(given)) if (isGiven) throw refusal(field, message);
}

function refusal(field: string, message: string): Error {
  return fieldError('request_invalid', [{ field, message }]);
}
