import { jsonInput } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import type { RunKind, RunResults } from './run-kinds.ts';

/** Writes the columns that only this kind has; the row is locked by the caller, who also sets its times. */
export async function writeResult<K extends RunKind>(tx: Transaction, kind: K, id: string, result: Partial<RunResults[K]>): Promise<void> {
  await writers[kind](tx, id, result);
}

const writers: { readonly [K in RunKind]: (tx: Transaction, id: string, result: Partial<RunResults[K]>) => Promise<unknown> } = {
  backup: (tx, id, { metadata, ...columns }) =>
    tx.backupJob.update({ where: { id }, data: { ...columns, ...(metadata === undefined ? {} : { metadata: jsonInput(metadata) }) } }),
  verify: (tx, id, { details }) =>
    tx.backupVerification.update({ where: { id }, data: details === undefined ? {} : { details: jsonInput(details) } }),
  recovery: (tx, id, { metadata, ...columns }) =>
    tx.recoveryJob.update({ where: { id }, data: { ...columns, ...(metadata === undefined ? {} : { metadata: jsonInput(metadata) }) } }),
  cleanup: (tx, id, { details }) =>
    tx.cleanupJob.update({ where: { id }, data: details === undefined ? {} : { details: jsonInput(details) } }),
  copy: (tx, id, { details }) => tx.copyJob.update({ where: { id }, data: details === undefined ? {} : { details: jsonInput(details) } }),
  adopt: (tx, id, { details }) =>
    tx.adoptionJob.update({ where: { id }, data: details === undefined ? {} : { details: jsonInput(details) } }),
};
