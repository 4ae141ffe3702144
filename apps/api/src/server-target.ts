import { mysqlPlace } from '@holdfast/sources/mysql/connection-options';
import { redisPlace } from '@holdfast/sources/redis/connection-options';
import type { ServerTarget } from '@holdfast/sources/recovery-options';
import { checkDatabaseHost } from './allowed-places.ts';
import type { ApiConfig } from './config.ts';
import { fieldError } from './problem.ts';

/** Holds a target that is a server of MariaDB or Redis against the kind of recovery. Codes: request_invalid, mysql_ and redis_host_not_allowed. */
export function checkServerTarget(recoveryType: string, target: ServerTarget, config: Pick<ApiConfig, 'databaseHosts'>): void {
  const code = target.kind === 'mysql' ? 'mysql_host_not_allowed' : 'redis_host_not_allowed';
  checkDatabaseHost('targetServer.connection.host', target.connection, config, code);
  const field = target.kind === 'mysql' ? 'targetServer.table' : 'targetServer.keyPrefixes';
  const isChosen = target.kind === 'mysql' ? target.table !== undefined : target.keyPrefixes !== undefined;
  if (recoveryType === 'selective' && !isChosen) throw refusal(field, 'is missing; say what a selective recovery is to recover');
  if (recoveryType !== 'selective' && isChosen) throw refusal(field, 'is for a selective recovery; leave it out, or ask for selective');
  if (target.kind === 'mysql' && target.as !== undefined && target.table === undefined) {
    throw refusal('targetServer.as', 'is the other name of a table; leave it out');
  }
}

/** As the row has it: `mysql://holdfast@db.internal:3306/shop`, `redis://default@cache.internal:6379`. */
export function serverLocation(target: ServerTarget): string {
  if (target.kind === 'redis') return `redis://${redisPlace(target.connection)}`;
  return `mysql://${mysqlPlace(target.connection)}/${encodeURIComponent(target.database)}`;
}

function refusal(field: string, message: string): Error {
  return fieldError('request_invalid', [{ field, message }]);
}
