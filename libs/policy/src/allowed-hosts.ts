import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * Which servers a request may name, like the roots of paths: without such a list whoever may add a config could have a worker knock at
 * every door that its network has. One list is for database servers, one for storages. Patterns are text: `db.example.org`, `10.0.0.7:5433`, `*.db.internal`, `[::1]:5432`. A
 * star stands for one or more labels at the front of a name; no port means any. Names are not resolved: what a name leads to is its
 * owner's word, as it is for every client of that server.
 */
export interface HostPattern {
  /** Lower case; `*.` at its front for everything below. */
  readonly host: string;
  readonly port: number | undefined;
}

const patternText =
  /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<host>(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|[0-9a-f]*:[0-9a-f:.]*:[0-9a-f:.]*))(?::(?<port>\d{1,5}))?$/iu;
const maxPort = 65_535;

/** Reads a setting such as `db1.internal:5432,*.db.internal`. Empty allows none. Code: configuration_invalid. */
export function parseAllowedHosts(text: string): HostPattern[] {
  const parts = text.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]));
  return parts.map((part) => {
    const groups = patternText.exec(part)?.groups;
    const host = groups?.['v6'] ?? groups?.['host'];
    const port = groups?.['port'] === undefined ? undefined : Number(groups['port']);
    if (host === undefined || port === 0 || (port ?? 0) > maxPort) {
      throw new HoldfastError('configuration_invalid', `${JSON.stringify(part)} is no host`, {
        hint: 'give names or addresses with commas between them, each with a port if it is to be the only one: db.internal:5432',
      });
    }
    return { host: normalHost(host), port };
  });
}

/** Whether a request may name this server. */
export function isAllowedHost({ host, port }: { readonly host: string; readonly port: number }, allowed: readonly HostPattern[]): boolean {
  const wanted = normalHost(host);
  return allowed.some((pattern) => {
    if (pattern.port !== undefined && pattern.port !== port) return false;
    if (!pattern.host.startsWith('*.')) return wanted === pattern.host;
    const below = pattern.host.slice(1);
    return wanted.length > below.length && wanted.endsWith(below);
  });
}

/** Throws `code`. */
export function assertAllowedHost(
  server: { readonly host: string; readonly port: number },
  allowed: readonly HostPattern[],
  code: 'postgresql_host_not_allowed' | 'mysql_host_not_allowed' | 'redis_host_not_allowed' | 'storage_host_not_allowed',
): void {
  if (isAllowedHost(server, allowed)) return;
  throw new HoldfastError(code, `the server ${server.host}:${server.port} is not among the allowed ones`);
}

/** A dot at the end says only that a name is complete. */
function normalHost(host: string): string {
  return host.toLowerCase().replace(/\.$/u, '');
}
