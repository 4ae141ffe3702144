import type { JsonObject } from '@holdfast/database/json-object';
import type { SqliteTarget } from '@holdfast/sources/recovery-options';
import { checkTarget } from './allowed-places.ts';
import type { ApiConfig } from './config.ts';
import { fieldError } from './problem.ts';
import { fileField, type FileAim } from './recovery-aim.ts';

/** A recovery into a SQLite database, as the request has it. */
export interface SqliteRequest extends FileAim {
  readonly recoveryType: string;
  readonly targetLocation?: string | undefined;
  readonly targetPassword?: string | undefined;
}

/** What the row says of it. Codes: request_invalid, path_outside_roots. */
export function sqlitePlace(
  request: SqliteRequest,
  target: SqliteTarget,
  config: Pick<ApiConfig, 'targetRoots'>,
): { targetLocation: string; options: JsonObject } {
  if (request.recoveryType !== 'full') refuse('recoveryType', 'must be full for targetSqlite: a database is recovered as a whole');
  for (const field of ['targetLocation', 'targetPassword'] as const) {
    if (request[field] !== undefined) refuse(field, 'is given beside targetSqlite; leave one of them out');
  }
  const ofFiles = (['paths', 'globs', 'excludes'] as const).find((name) => request[name] !== undefined) ?? fileField(request);
  if (ofFiles === 'overwrite') refuse('overwrite', 'must be true or false for targetSqlite: policies are for files');
  if (ofFiles !== undefined) refuse(ofFiles, 'is for files; leave it out');
  checkTarget(target.path, config, 'targetSqlite.path');
  return { targetLocation: target.path, options: { overwrite: request.overwrite, sqlite: target } };
}

function refuse(field: string, message: string): never {
  throw fieldError('request_invalid', [{ field, message }]);
}
