import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import type { LogicalSourceOptions, PhysicalSourceOptions } from '@holdfast/sources/source-options/postgresql';
import { checkDatabaseHost } from '../allowed-places.ts';
import type { SourceCheck } from './source-check.ts';

/** Code: postgresql_host_not_allowed. */
export const postgresqlCheck: SourceCheck<LogicalSourceOptions | PhysicalSourceOptions> = {
  checkReach: ({ connection }, settings) => checkDatabaseHost('source.connection.host', connection, settings),
  password: { place: ({ connection }) => connectionPlace(connection) },
};
