import type { ErrorCode } from '@holdfast/errors/error-codes';

const codes: Readonly<Record<number, ErrorCode>> = {
  404: 'storage_object_missing',
  // Too slow, too early, too many: as 5xx, it passes.
  408: 'storage_unreachable',
  425: 'storage_unreachable',
  429: 'storage_unreachable',
  // A condition of ours did not hold: the object is there.
  409: 'storage_object_exists',
  412: 'storage_object_exists',
  413: 'storage_full',
  416: 'storage_object_too_short',
  507: 'storage_full',
};

/** What a server's status says when its error has no name that says more. Other refusals (4xx) stay until somebody mends a setting or a right. */
export function codeOfHttpStatus(status: number): ErrorCode {
  return codes[status] ?? (status >= 400 && status < 500 ? 'storage_denied' : 'storage_unreachable');
}
