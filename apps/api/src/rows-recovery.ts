import type { JsonObject } from '@holdfast/database/json-object';
import type { RowsRecovery } from '@holdfast/sources/recovery-options';
import { fieldError } from './problem.ts';
import { fileField, type FileAim } from './recovery-aim.ts';

/** What stands for a folder in the row of a recovery of rows. */
const rowsLocation = 'holdfast:rows';

/** Fields that say where else something goes, or what of a server. */
const otherFields = [
  'targetLocation',
  'targetDatabase',
  'targetSqlite',
  'targetServer',
  'window',
  'targetPassword',
  'pointInTime',
  'tablespaces',
] as const;

type RowsBody = FileAim & { readonly recoveryType: string; readonly rows: RowsRecovery; readonly start: boolean } & {
  readonly [field in (typeof otherFields)[number]]?: unknown;
};

/** What the row says of a recovery of Holdfast's own rows. Code: request_invalid. */
export function rowsTarget(body: RowsBody): { targetLocation: string; options: JsonObject } {
  if (body.recoveryType !== 'full') throw refusal('recoveryType', 'must be full for rows: each is told or made by itself');
  const field = otherFields.find((name) => body[name] !== undefined) ?? (body.start ? 'start' : fileField(body));
  if (field !== undefined) throw refusal(field, 'is given beside rows, which go into the database of the service; leave it out');
  return { targetLocation: rowsLocation, options: { rows: body.rows } };
}

/** Only backups of type configuration have rows. Code: request_invalid. */
export function checkRows(backupType: string): void {
  if (backupType !== 'configuration') throw refusal('rows', `is for backups of type configuration; this one is of type ${backupType}`);
}

function refusal(field: string, message: string) {
  return fieldError('request_invalid', [{ field, message }]);
}
