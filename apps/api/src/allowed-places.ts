import { isInsideRoots } from '@holdfast/sources/allowed-roots';
import { isAllowedHost, type HostPattern } from '@holdfast/policy/allowed-hosts';
import type { ApiConfig } from './config.ts';
import { fieldError, type FieldError } from './problem.ts';

/** Folders and servers that the operator lets requests name, and what is said of others. */

/** `code` is the one of its kind of server. */
export function checkDatabaseHost(
  field: string,
  connection: { readonly host: string; readonly port: number },
  { databaseHosts }: Pick<ApiConfig, 'databaseHosts'>,
  code: 'postgresql_host_not_allowed' | 'mysql_host_not_allowed' | 'redis_host_not_allowed' = 'postgresql_host_not_allowed',
): void {
  if (isAllowedHost(connection, databaseHosts)) return;
  throw fieldError(code, [{ field, message: hostRemedy(connection, databaseHosts, 'HOLDFAST_DATABASE_HOSTS') }]);
}

export function hostRemedy(
  { host, port }: { readonly host: string; readonly port: number },
  allowed: readonly HostPattern[],
  setting: string,
): string {
  const remedy = allowed.length === 0 ? 'no server is; the operator sets' : 'choose another, or let the operator extend';
  return `${host}:${port} is not among the allowed servers: ${remedy} ${setting}`;
}

/** Code: path_outside_roots. */
export function checkTarget(targetLocation: string, roots: Pick<ApiConfig, 'targetRoots'>, field = 'targetLocation'): void {
  refuse('path_outside_roots', outside(field, targetLocation, roots.targetRoots, 'HOLDFAST_TARGET_ROOTS'));
}

export function outside(field: string, path: string, roots: readonly string[], setting: string): FieldError[] {
  if (isInsideRoots(path, roots)) return [];
  const remedy =
    roots.length === 0 ? `no folder is allowed; the operator sets ${setting}` : `choose a path at or below ${roots.join(' or ')}`;
  return [{ field, message: `is outside of the allowed folders; ${remedy}` }];
}

export function refuse(code: 'request_invalid' | 'path_outside_roots', errors: readonly FieldError[]): void {
  const [first, ...rest] = errors;
  if (first !== undefined) throw fieldError(code, [first, ...rest]);
}
