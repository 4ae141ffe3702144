import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** PATH_MAX eight times over: what a request may name, not what a snapshot may hold. */
const maxPathLength = 32 * 1024;

/**
 * The names of a path that a request gives: absolute, plain names between single slashes; `/` is the top, one slash at the end does not
 * matter. Errors: request_invalid, which names the `field`.
 */
export function namesOfPath(path: string, field = 'path'): string[] {
  if (!path.startsWith('/')) throw invalid(field, 'has to begin with a slash');
  if (path.length > maxPathLength) throw invalid(field, `is longer than ${maxPathLength} characters`);
  const names = path.slice(1, path.endsWith('/') ? -1 : undefined).split('/');
  if (path === '/') return [];
  for (const name of names) {
    if (name === '') throw invalid(field, 'has two slashes one after the other');
    if (name === '.' || name === '..') throw invalid(field, `holds the name ${name}, which leads elsewhere`);
    if (name.includes('\0')) throw invalid(field, 'holds a NUL');
  }
  return names;
}

/** The path of names, without a slash at the end; `/` for none. */
export function pathOfNames(names: readonly string[]): string {
  return `/${names.join('/')}`;
}

function invalid(field: string, reason: string): HoldfastError {
  return new HoldfastError('request_invalid', `${field} ${reason}`, {
    hint: `give ${field} as an absolute path in the snapshot, such as /data/reports`,
    context: { field },
  });
}
