import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { copyInStatement } from '../copy-statement.ts';
import type { DatabaseManifest, TableManifest } from '../manifest.ts';
import { displayName, quoteName } from '../quote.ts';
import type { Session } from '../session.ts';
import { folderOf, type BackupFiles } from './backup-files.ts';
import { rowsOf } from './row-stream.ts';

export interface LoadTableOptions {
  readonly files: BackupFiles;
  readonly database: DatabaseManifest;
  readonly table: TableManifest;
  /** What is done with rows that are there: they may not be, are removed first, or are left (those an extension made). */
  readonly present: 'refuse' | 'remove' | 'keep';
  readonly onBytes: (bytes: number) => void;
}

/**
 * Fills one table in one transaction and counts what the server then has; returns that count. On any error the table is as it was.
 * Codes: target_not_empty, repository_damaged, postgresql_*; the message names the table.
 */
export async function loadTable(session: Session, { files, database, table, present, onBytes }: LoadTableOptions): Promise<number> {
  const name = quoteName(table);
  const action = `filling ${displayName(table)}`;
  await session.query('BEGIN', [], action);
  try {
    // Nobody adds rows between the look and the end; readers go on.
    if (present === 'remove') await session.query(`TRUNCATE ONLY ${name}`, [], action);
    else if (present === 'refuse') {
      await session.query(`LOCK TABLE ONLY ${name} IN SHARE ROW EXCLUSIVE MODE`, [], action);
      await refuseRows(session, table);
    }
    const before = present === 'keep' ? await countRows(session, table) : 0;
    const path = `${folderOf(database)}/data/${table.file}`;
    await session.copyIn(copyInStatement(table), rowsOf(files.read(path, table.headerBytes), onBytes), action);
    const rows = (await countRows(session, table)) - before;
    if (rows !== table.rows) {
      throw new HoldfastError('postgresql_failed', `${displayName(table)} has ${rows} rows after it was filled with ${table.rows}`, {
        hint: 'see whether a trigger or a rule of the table keeps rows away',
      });
    }
    await session.query('COMMIT', [], action);
    return rows;
  } catch (error) {
    if (session.isUsable) await session.query('ROLLBACK', [], action).catch(() => session.destroy());
    throw error;
  }
}

async function refuseRows(session: Session, table: TableManifest): Promise<void> {
  const [row] = await session.query(`SELECT EXISTS (SELECT FROM ONLY ${quoteName(table)})`);
  if (row?.[0] !== 't') return;
  throw new HoldfastError('target_not_empty', `the table ${displayName(table)} at ${session.place} has rows`, {
    hint: 'empty it, or allow overwriting, which removes its rows first',
  });
}

async function countRows(session: Session, table: TableManifest): Promise<number> {
  const [row] = await session.query(`SELECT count(*) FROM ONLY ${quoteName(table)}`, [], `counting ${displayName(table)}`);
  return Number(row?.[0]);
}
