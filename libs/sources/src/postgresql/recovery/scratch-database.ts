import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { ConnectionOptions } from '../connection-options.ts';
import type { DatabaseManifest } from '../logical/manifest.ts';
import { quoteIdentifier } from '../logical/quote.ts';
import { openSession } from '../logical/session.ts';
import type { InspectionLog } from './inspection-log.ts';

export interface ScratchDatabase {
  /** To another database of the server. */
  readonly connection: ConnectionOptions;
  readonly source: DatabaseManifest;
  readonly log: InspectionLog;
  readonly signal: AbortSignal;
}

/** What servers of 14 to 18 say of a locale that their machine does not have, or that does not go with the encoding. */
const localeComplaint = /locale|collat|ICU/u;

/**
 * Makes an empty database like the backup's, in place of one of that name that a new cluster has. Locales differ from machine to machine:
 * with one that is missing here text sorts by bytes instead, which is noted. Codes: postgresql_*.
 */
export async function makeScratchDatabase({ connection, source, log, signal }: ScratchDatabase): Promise<void> {
  await using session = await openSession(connection, signal);
  const name = quoteIdentifier(source.name);
  const action = `making the database ${source.name}`;
  await session.query(`DROP DATABASE IF EXISTS ${name}`, [], action);
  try {
    await session.query(`CREATE DATABASE ${name} ${source.createOptions}`, [], action);
  } catch (error) {
    if (!isHoldfastError(error, 'postgresql_failed') || !localeComplaint.test(error.message)) throw error;
    const characters = source.encoding === 'UTF8' ? 'C.UTF-8' : 'C';
    const options = `TEMPLATE = template0 ENCODING = '${source.encoding}' LC_COLLATE = 'C' LC_CTYPE = '${characters}'`;
    await session.query(`CREATE DATABASE ${name} ${options}`, [], action);
    log.note(`${source.name}: its locale is not installed at the worker, so that its texts were sorted by their bytes`);
  }
}
