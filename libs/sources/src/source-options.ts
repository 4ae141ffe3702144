import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { configurationSourceOptionsSchema } from './source-options/configuration.ts';
import { applicationDataSourceOptionsSchema } from './source-options/application-data.ts';
import { fileSystemSourceOptionsSchema } from './source-options/file-system.ts';
import { ownDatabaseSourceOptionsSchema } from './source-options/own-database.ts';
import { logsSourceOptionsSchema } from './source-options/logs.ts';
import { postgresqlSourceOptionsSchema } from './source-options/postgresql.ts';
import { postgresqlWalSourceOptionsSchema } from './source-options/postgresql-wal.ts';

/**
 * What a config backs up, discriminated by `type`: each has its file in source-options/, which shows an example. A field that is not known is
 * an error. Nothing here touches the disk, so that the API can import it.
 */

export const sourceOptionsSchema = z.discriminatedUnion('type', [
  fileSystemSourceOptionsSchema,
  logsSourceOptionsSchema,
  postgresqlSourceOptionsSchema,
  postgresqlWalSourceOptionsSchema,
  ownDatabaseSourceOptionsSchema,
  configurationSourceOptionsSchema,
  applicationDataSourceOptionsSchema,
]);
export const sourceTypes = [
  'file_system',
  'logs',
  'postgresql',
  'postgresql_wal',
  'own_database',
  'configuration',
  'application_data',
] as const satisfies readonly SourceType[];

export type SourceOptions = z.infer<typeof sourceOptionsSchema>;
export type SourceType = SourceOptions['type'];
export type SourceOptionsOf<T extends SourceType> = Extract<SourceOptions, { readonly type: T }>;

/**
 * Checks options that came from outside.
 * Errors: type_not_supported for a kind that is not built, request_invalid for anything else that does not fit.
 */
export function parseSourceOptions(value: unknown): SourceOptions {
  const type: unknown = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
  const built: readonly string[] = sourceTypes;
  if (typeof type === 'string' && !built.includes(type)) {
    throw new HoldfastError('type_not_supported', `a source of type ${JSON.stringify(type)} is not built; there is: ${built.join(', ')}`);
  }
  const parsed = sourceOptionsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HoldfastError('request_invalid', `source options do not fit: ${z.prettifyError(parsed.error)}`, { cause: parsed.error });
}
