import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** Gone, or no longer what it was a moment ago: another kind of thing is in its place. */
const vanished: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EISDIR']);
/** The process has run out of something; the path is innocent. */
const exhausted: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN']);
/**
 * A disk that does not answer, a network file system whose server restarts, a mount that went stale: what the path says of itself
 * is unchanged, and a later attempt may well pass. Whatever is not listed, such as a missing right, stays as it is.
 */
const passing: ReadonlySet<string> = new Set([
  'EIO',
  'EINTR',
  'EBADF',
  'EBUSY',
  'ESTALE',
  'ETIMEDOUT',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENOTCONN',
  'EREMOTEIO',
]);

const mayPass = (errno: string): { retry?: 'later'; hint?: string } =>
  passing.has(errno) ? { retry: 'later', hint: 'look at the disk or the network file system that holds the path; it is tried again' } : {};

/** Whether an error says that what was asked for has gone meanwhile. */
export function isVanished(error: unknown): boolean {
  return vanished.has(errnoCode(error) ?? '');
}

/** Translates an error of node:fs on reading `path`; one of ours goes through as it is. */
export function readingError(error: unknown, path: string): unknown {
  const errno = errnoCode(error);
  if (errno === undefined || error instanceof HoldfastError) return error;
  const options = { context: { path, errno }, cause: error };
  if (vanished.has(errno)) return new HoldfastError('path_not_found', `${JSON.stringify(path)} is not there (${errno})`, options);
  if (exhausted.has(errno)) return new HoldfastError('internal', `cannot read ${JSON.stringify(path)} now (${errno})`, options);
  return new HoldfastError('path_not_readable', `${JSON.stringify(path)} cannot be read (${errno})`, { ...options, ...mayPass(errno) });
}

/** Translates an error of node:fs on writing `path`; one of ours goes through as it is. */
export function writingError(error: unknown, path: string): unknown {
  const errno = errnoCode(error);
  if (errno === undefined || error instanceof HoldfastError) return error;
  const options = { context: { path, errno }, cause: error };
  if (errno === 'ENOSPC' || errno === 'EDQUOT') return new HoldfastError('disk_full', `no room left for ${JSON.stringify(path)}`, options);
  if (exhausted.has(errno)) return new HoldfastError('internal', `cannot write ${JSON.stringify(path)} now (${errno})`, options);
  return new HoldfastError('target_not_writable', `${JSON.stringify(path)} cannot be written (${errno})`, {
    ...options,
    ...mayPass(errno),
  });
}
