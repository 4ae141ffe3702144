import { mysqlPlace } from '@holdfast/sources/mysql/connection-options';
import { redisPlace } from '@holdfast/sources/redis/connection-options';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import {
  type ApplicationDataSourceOptions,
  type ApplicationPartKind,
  type ApplicationPartOptions,
  type ApplicationPartOptionsOf,
} from '@holdfast/sources/source-options/application-data';
import { hookServer, hooksPlace, type HookOptions } from '@holdfast/sources/source-options/hooks';
import { hooksPasswordName } from '@holdfast/sources/source-options/part-name';
import { isAllowedHost } from '@holdfast/policy/allowed-hosts';
import { checkDatabaseHost, hostRemedy, outside, refuse } from '../allowed-places.ts';
import { fieldError, type FieldError } from '../problem.ts';
import type { ReachSettings, SourceCheck } from './source-check.ts';

/** What the API looks at in a part, by its kind. `field` is the part's own: `source.parts.0`. */
interface PartCheck<P> {
  checkReach(part: P, field: string, settings: ReachSettings): void;
  /** The server and account that its password is for; null where it takes none. */
  passwordPlace(part: P): string | null;
}

const partChecks: { readonly [K in ApplicationPartKind]: PartCheck<ApplicationPartOptionsOf<K>> } = {
  paths: {
    checkReach: ({ paths }, field, { sourceRoots }) =>
      refuse(
        'path_outside_roots',
        paths.flatMap((path, index) => outside(`${field}.paths.${index}`, path, sourceRoots, 'HOLDFAST_SOURCE_ROOTS')),
      ),
    passwordPlace: () => null,
  },
  sqlite: {
    checkReach: ({ path }, field, { sourceRoots }) =>
      refuse('path_outside_roots', outside(`${field}.path`, path, sourceRoots, 'HOLDFAST_SOURCE_ROOTS')),
    passwordPlace: () => null,
  },
  postgresql: {
    checkReach: ({ connection }, field, settings) => checkDatabaseHost(`${field}.connection.host`, connection, settings),
    passwordPlace: ({ connection }) => connectionPlace(connection),
  },
  mysql: {
    checkReach: ({ connection }, field, settings) =>
      checkDatabaseHost(`${field}.connection.host`, connection, settings, 'mysql_host_not_allowed'),
    passwordPlace: ({ connection }) => mysqlPlace(connection),
  },
  redis: {
    checkReach: ({ connection }, field, settings) =>
      checkDatabaseHost(`${field}.connection.host`, connection, settings, 'redis_host_not_allowed'),
    passwordPlace: ({ connection }) => redisPlace(connection),
  },
};

function checkOf({ kind }: ApplicationPartOptions): PartCheck<ApplicationPartOptions> {
  return partChecks[kind];
}

/** Codes: request_invalid, path_outside_roots, postgresql_, mysql_, redis_ and hook_host_not_allowed. */
export const applicationDataCheck: SourceCheck<ApplicationDataSourceOptions> = {
  checkReach: ({ parts, hooks }, settings) => {
    parts.forEach((part, index) => checkOf(part).checkReach(part, `source.parts.${index}`, settings));
    refuse('request_invalid', pathMismatches(parts));
    if (hooks === undefined) return;
    checkHookHost('source.hooks.freeze.url', hooks.freeze, settings);
    checkHookHost('source.hooks.thaw.url', hooks.thaw, settings);
  },
  password: { reason: 'is for a source that is one server; passwords of parts go into sourcePasswords' },
  partPlaces: ({ parts, hooks }) => {
    const places = new Map<string, string>();
    for (const part of parts) {
      const place = checkOf(part).passwordPlace(part);
      if (place !== null) places.set(part.name, place);
    }
    const hooksAt = hooks === undefined ? null : hooksPlace(hooks);
    if (hooksAt !== null) places.set(hooksPasswordName, hooksAt);
    return places;
  },
};

/** Files keep their paths in the snapshot, so none may be in two parts, or where the other parts are. By the text; the worker looks again. */
function pathMismatches(parts: readonly ApplicationPartOptions[]): FieldError[] {
  const all = parts.flatMap((part, index) =>
    part.kind === 'paths' ? part.paths.map((path, nth) => ({ path, index, field: `source.parts.${index}.paths.${nth}` })) : [],
  );
  return all.flatMap(({ path, index, field }) => {
    if (path === '/' || isAtOrBelow(path, '/application-data')) {
      return [{ field, message: 'cannot be in such a backup, which has its parts at /application-data; name the folders that are needed' }];
    }
    const other = all.find((each) => each.index !== index && isAtOrBelow(path, each.path));
    return other === undefined ? [] : [{ field, message: `is in another part too, as ${other.field}; leave one of them out` }];
  });
}

function checkHookHost(field: string, hook: HookOptions, { hookHosts }: ReachSettings): void {
  if (hook.kind !== 'http') return;
  const server = hookServer(hook.url);
  if (isAllowedHost(server, hookHosts)) return;
  throw fieldError('hook_host_not_allowed', [{ field, message: hostRemedy(server, hookHosts, 'HOLDFAST_HOOK_HOSTS') }]);
}

function isAtOrBelow(path: string, root: string): boolean {
  return path === root || path.startsWith(`${root}/`);
}
