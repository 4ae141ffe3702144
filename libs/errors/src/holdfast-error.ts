import { errorCodes, type ErrorCode, type Retry } from './error-codes.ts';

/**
 * Rules of errors:
 * - One class. An adapter translates foreign errors at its own door; everybody else lets them pass or adds context.
 * - `message` is lower-case and names the thing; `hint` says what to do; neither they nor `context` hold a secret.
 * - Damage found by a verification and files skipped by a backup are results, never errors.
 * - Two places only classify: the worker's bullmq-error.ts (`never` is not tried again) and the API's problem.ts (HTTP status).
 */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly retry: Retry;
  readonly hint: string;
  /** Names and numbers that help to find the cause: paths, object names, sizes. Shown to users: no secrets. */
  readonly context: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { hint?: string; retry?: Retry; context?: Readonly<Record<string, unknown>>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retry = options.retry ?? errorCodes[code].retry;
    this.hint = options.hint ?? errorCodes[code].hint;
    this.context = options.context ?? {};
  }
}

/** True for a HoldfastError, with `code` when given. */
export function isHoldfastError(error: unknown, code?: ErrorCode): error is HoldfastError {
  return error instanceof HoldfastError && (code === undefined || error.code === code);
}

/** The error as it is when it is one of ours, else an `internal` one that keeps it as its cause. */
export function asHoldfastError(error: unknown): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new HoldfastError('internal', message, { cause: error });
}
