import type { ErrorCode } from '@holdfast/errors/error-codes';
import { isHoldfastError, type HoldfastError } from '@holdfast/errors/holdfast-error';
import type { TargetWarning } from '@holdfast/sources/target';

/** An entry that is not restored, or not whole, and what kind of reason there is. */
export interface FailedEntry extends TargetWarning {
  readonly code: ErrorCode;
}

/** What the system says of one entry and its folder alone: another entry may do. A disk that is full, broken or read-only is no such thing. */
const entryErrnos: ReadonlySet<unknown> = new Set([
  'EACCES',
  'EPERM',
  'ENOENT',
  'ENOTDIR',
  'EISDIR',
  'EEXIST',
  'ENOTEMPTY',
  'ELOOP',
  'ENAMETOOLONG',
  'EINVAL',
  'EILSEQ',
  'ETXTBSY',
  'EFBIG',
  'EXDEV',
  'EMLINK',
]);

/** Whether the target refuses this entry, and perhaps no other: something is in its way, a right is missing, its name leads elsewhere. */
export function isEntryFailure(error: unknown): error is HoldfastError {
  if (isHoldfastError(error, 'target_not_empty') || isHoldfastError(error, 'path_outside_roots')) return true;
  if (!isHoldfastError(error, 'target_not_writable')) return false;
  const errno = error.context['errno'];
  return errno === undefined || entryErrnos.has(errno);
}

export function failedEntry(path: string, { code, message }: HoldfastError): FailedEntry {
  return { path, code, reason: message };
}
