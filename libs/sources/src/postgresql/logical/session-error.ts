import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { connectionError } from '../postgresql-error.ts';

export interface SessionPlace {
  /** What was being done, for the message: `copying public.orders`. */
  readonly action: string;
  /** Where: connectionPlace and the database. Holds no secret. */
  readonly place: string;
  readonly user: string;
  readonly database: string;
}

/** What was there when the tables were listed and is not any more: a table, a schema, the snapshot's owner. */
const goneMeanwhile = new Set(['42P01', '3F000']);

/** As postgresql-error.ts has it, with what was being done; what went away between two looks comes right by itself. */
export function translateSessionError(error: unknown, { action, place, user, database }: SessionPlace): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const activity = action === connecting ? 'connecting' : 'querying';
  const known = connectionError(error, { place, activity, user, database, isReplication: false });
  const code = goneMeanwhile.has(errnoCode(error) ?? '') ? 'postgresql_changed' : known.code;
  const hint = code === known.code ? { hint: known.hint, retry: known.retry } : {};
  return new HoldfastError(code, `${action} at ${known.message}`, { ...hint, context: known.context, cause: error });
}

export const connecting = 'connecting';
