import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { connectDatabase } from '../connect.ts';
import type { ConnectionOptions } from '../connection-options.ts';

/** What initdb calls it on nearly every server. */
const usualName = 'postgres';
/** A role for replication needs no right to open a database, and no line in pg_hba.conf for one. */
const shutOutCodes = ['postgresql_access_rule_missing', 'postgresql_denied', 'postgresql_not_found', 'postgresql_login_failed'] as const;

export interface BootstrapSuperuser {
  readonly name: string;
  /** False when the server could not be asked, and the name is the usual one. */
  readonly isKnown: boolean;
}

/** The role that initdb made, with OID 10, which every cluster has whatever its name is. Codes as of connectDatabase. */
export async function findBootstrapSuperuser(connection: ConnectionOptions, signal: AbortSignal): Promise<BootstrapSuperuser> {
  try {
    await using database = await connectDatabase(connection, { signal });
    const [row] = await database.query<{ rolname: string }>('SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10');
    return { name: row?.rolname ?? usualName, isKnown: row !== undefined };
  } catch (error) {
    if (shutOutCodes.some((code) => isHoldfastError(error, code))) return { name: usualName, isKnown: false };
    throw error;
  }
}
