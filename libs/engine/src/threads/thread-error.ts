import { errorCodes, type ErrorCode, type Retry } from '@holdfast/errors/error-codes';
import { HoldfastError, asHoldfastError } from '@holdfast/errors/holdfast-error';

/** An error on its way between threads: a structured clone would lose its class and all that makes it a HoldfastError. */
export interface ErrorMessage {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  readonly retry: Retry;
  readonly context: Readonly<Record<string, unknown>>;
  readonly stack: string;
  readonly cause?: ErrorMessage;
}

/** Causes of causes beyond this are left out: nobody reads them, and a ring of them would have no end. */
const maxCauseDepth = 5;

/** Anything thrown, as data; what is no HoldfastError becomes `internal`. */
export function encodeError(error: unknown, depth = 0): ErrorMessage {
  const { code, message, hint, retry, context, stack = '', cause } = asHoldfastError(error);
  return {
    code,
    message,
    hint,
    retry,
    context: cloneable(context),
    stack,
    ...(cause === undefined || depth === maxCauseDepth ? {} : { cause: encodeError(cause, depth + 1) }),
  };
}

/** The error again, with the stack of the thread that threw it. */
export function decodeError({ code, message, hint, retry, context, stack, cause }: ErrorMessage): HoldfastError {
  const known = code in errorCodes ? code : 'internal';
  const error = new HoldfastError(known, message, { hint, retry, context, ...(cause === undefined ? {} : { cause: decodeError(cause) }) });
  error.stack = stack;
  return error;
}

const plainTypes = new Set(['string', 'number', 'boolean', 'bigint']);

/** What of a context a structured clone keeps; it holds names and numbers, nothing else is lost. */
function cloneable(context: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(context).filter(([, value]) => value === null || plainTypes.has(typeof value)));
}
