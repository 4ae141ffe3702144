import { isJsonObject, type JsonObject } from '@holdfast/database/json-object';
import type { Transaction } from '@holdfast/database/open-database';
import { insertOwnRow, overwriteOwnRow } from '@holdfast/database/own-rows-applying';
import { ownRowTables, readOwnRows, type OwnRow } from '@holdfast/database/own-rows-of-entity';
import type { RecoveryWork } from '@holdfast/database/recovery-jobs';
import { opensConfigSecrets } from '@holdfast/database/opened-secrets';
import { commitUnderFence, finishRunIn, type RunOutcome } from '@holdfast/database/runs';
import { withSnapshotFiles, type SnapshotFiles } from '@holdfast/engine/snapshot-files';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { RowsRecovery } from '@holdfast/sources/recovery-options';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { whyRefused } from './check-row.ts';
import { compareRows, type ComparedRow, type RowComparison, type RowFate } from './row-comparison.ts';
import { rowOfPath, rowsFolder } from './row-paths.ts';

/** A row of the run is read whole by every list; counts tell of the rest. */
const maxListed = 100;
/** As many as a backup takes, and each no longer than a request may be. */
const maxRowCount = 50_000;
const maxRowBytes = 1024 * 1024;

type Completed = RunOutcome<'recovery'> & { readonly status: 'completed' | 'completed_with_warnings' };

/**
 * Holds the rows of a backup against those that are there, and with `apply` makes what is missing, and with `overwrite` what is another, as it
 * was: all in one transaction that also ends the run. Nothing is ever removed. Codes: path_not_found (the backup has no rows), repository_damaged,
 * those of openRepositoryOf.
 */
export async function recoverRows(
  run: RunInHand<'recovery'>,
  { work, snapshotId, rows }: { readonly work: RecoveryWork; readonly snapshotId: string; readonly rows: RowsRecovery },
): Promise<RunOutcome<'recovery'>> {
  const { context, claim } = run;
  const { businessEntityId } = work;
  await using repository = await openRepositoryOf(run, work.backupJob.repository, { create: false, warm: false, cached: true });
  const backup = await withSnapshotFiles({ ...lockOptionsOf(run), repository, snapshotId }, (files) => rowsIn(files));
  if (backup.length === 0)
    throw new HoldfastError('path_not_found', `backup job ${work.backupJob.id} has no rows: its config had ownRows off`);
  return await commitUnderFence(context.database, claim, async (tx) => {
    const comparison = compareRows(backup, await readOwnRows(tx, businessEntityId));
    const outcome = outcomeOf(rows, comparison, await settleRows(tx, { run, businessEntityId, rows, comparison }));
    if (rows.mode === 'apply') await finishRunIn(tx, claim, outcome);
    return outcome;
  });
}

async function rowsIn(files: SnapshotFiles): Promise<OwnRow[]> {
  const rows: OwnRow[] = [];
  for (const table of Object.keys(ownRowTables)) {
    for (const { name, sizeBytes } of await namesIn(files, `${rowsFolder}/${table}`)) {
      const path = `${rowsFolder}/${table}/${name}`;
      const named = rowOfPath(path);
      if (named === null || sizeBytes > maxRowBytes || rows.length === maxRowCount) {
        throw new HoldfastError('repository_damaged', `${path} of the snapshot is none that a backup of rows holds`);
      }
      rows.push({ ...named, row: await rowAt(files, path) });
    }
  }
  return rows;
}

async function namesIn(files: SnapshotFiles, folder: string) {
  try {
    return await files.list(folder);
  } catch (error) {
    if (isHoldfastError(error, 'path_not_found')) return [];
    throw error;
  }
}

async function rowAt(files: SnapshotFiles, path: string): Promise<JsonObject> {
  const pieces: Uint8Array[] = [];
  for await (const piece of files.read(path)) pieces.push(piece);
  try {
    const value: unknown = JSON.parse(Buffer.concat(pieces).toString('utf8'));
    if (isJsonObject(value)) return value;
  } catch (error) {
    throw new HoldfastError('repository_damaged', `${path} of the snapshot is no JSON`, { cause: error });
  }
  throw new HoldfastError('repository_damaged', `${path} of the snapshot is no row`);
}

interface Settling {
  readonly run: RunInHand<'recovery'>;
  readonly businessEntityId: string;
  readonly rows: RowsRecovery;
  readonly comparison: RowComparison;
}

/**
 * In the order in which rows refer to each other: configs that build on others after those. With `diff` everything is judged as with `apply`, but
 * a row that refers to one that would only be made is not held against it.
 */
async function settleRows(tx: Transaction, { run, businessEntityId, rows, comparison }: Settling): Promise<ComparedRow[]> {
  const { missing, changed, extra } = comparison;
  const applies = rows.mode === 'apply';
  const settled: ComparedRow[] = [];
  for (const row of missing.toSorted(baseFirst)) {
    const { table, id } = row;
    const reason = applies ? await whyRefused(tx, businessEntityId, row) : null;
    if (reason !== null) settled.push({ table, id, fate: 'refused', reason });
    else settled.push({ table, id, fate: 'created', ...(await put(tx, run, row, applies ? insertOwnRow : null)) });
  }
  for (const { row, fields } of changed) {
    const { table, id } = row;
    const reason = applies && rows.overwrite ? await whyRefused(tx, businessEntityId, row) : null;
    if (reason !== null) settled.push({ table, id, fate: 'refused', fields, reason });
    else if (applies && !rows.overwrite) settled.push({ table, id, fate: 'kept', fields });
    else settled.push({ table, id, fate: 'changed', fields, ...(await put(tx, run, row, applies ? overwriteOwnRow : null)) });
  }
  return [...settled, ...extra.map(({ table, id }): ComparedRow => ({ table, id, fate: 'extra' }))];
}

/** Writes a row, unless it is only looked at; a config that could do nothing but fail is made inactive. */
async function put(
  tx: Transaction,
  { context }: RunInHand<'recovery'>,
  row: OwnRow,
  write: ((tx: Transaction, row: OwnRow) => Promise<void>) | null,
): Promise<{ inactive?: true }> {
  if (write === null) return {};
  await write(tx, row);
  if (row.table !== 'backup_configs' || (await opensConfigSecrets(tx, row.id, context.masterKey))) return {};
  await tx.backupConfig.update({ where: { id: row.id }, data: { isActive: false } });
  return { inactive: true };
}

function baseFirst(a: OwnRow, b: OwnRow): number {
  const tables = Object.keys(ownRowTables);
  return tables.indexOf(a.table) - tables.indexOf(b.table) || Number(buildsOnAnother(a)) - Number(buildsOnAnother(b));
}

function buildsOnAnother({ row }: OwnRow): boolean {
  return isJsonObject(row['source']) && 'baseConfigId' in row['source'];
}

function outcomeOf({ mode, overwrite }: RowsRecovery, { sameCount }: RowComparison, settled: readonly ComparedRow[]): Completed {
  const countOf = (fate: RowFate): number => settled.filter((row) => row.fate === fate).length;
  const counts = {
    created: countOf('created'),
    changed: countOf('changed'),
    kept: countOf('kept'),
    extra: countOf('extra'),
    refused: countOf('refused'),
    same: sameCount,
    inactive: settled.filter(({ inactive }) => inactive === true).length,
  };
  // What wants to be read first comes first.
  const order: readonly RowFate[] = ['refused', 'created', 'changed', 'kept', 'extra'];
  const entries = settled.toSorted((a, b) => order.indexOf(a.fate) - order.indexOf(b.fate)).slice(0, maxListed);
  const status = mode === 'apply' && counts.refused + counts.inactive > 0 ? 'completed_with_warnings' : 'completed';
  const recoveredRecords = BigInt(mode === 'apply' ? counts.created + counts.changed : 0);
  return { status, result: { recoveredRecords, metadata: { rows: { mode, overwrite, ...counts, entries } } } };
}
