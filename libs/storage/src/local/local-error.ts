import type { ErrorCode } from '@holdfast/errors/error-codes';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** What the operating system's word means for a storage. Anything that is not here may pass: storage_unreachable. */
const codes: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'storage_object_missing',
  EEXIST: 'storage_object_exists',
  ENOSPC: 'storage_full',
  EDQUOT: 'storage_full',
  EFBIG: 'storage_full',
  EACCES: 'storage_denied',
  EPERM: 'storage_denied',
  EROFS: 'storage_denied',
  // A link or a file where a folder or an object should be: somebody has to mend it.
  ELOOP: 'storage_denied',
  ENOTDIR: 'storage_denied',
  EISDIR: 'storage_denied',
};

/** Translates an error of node:fs on `what` (an object's name or a folder); one without an errno goes through as it is. */
export function localError(error: unknown, what: string, location: string): unknown {
  const errno = errnoCode(error);
  if (errno === undefined || error instanceof HoldfastError || !/^E[A-Z0-9]+$/.test(errno)) return error;
  const code = codes[errno] ?? 'storage_unreachable';
  return new HoldfastError(code, `${what} at ${location}: ${errno}`, { context: { object: what, location, errno }, cause: error });
}
