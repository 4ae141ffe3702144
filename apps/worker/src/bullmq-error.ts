import type { HoldfastError } from '@holdfast/errors/holdfast-error';
import { UnrecoverableError } from 'bullmq';

/** The one place that tells the queue whether a failed job comes again: never, or after its backoff. */
export function toBullmqError(error: HoldfastError): Error {
  const text = `${error.code}: ${error.message}`;
  return error.retry === 'never' ? new UnrecoverableError(text) : new Error(text, { cause: error });
}

/** A failed end that the row knows already: the queue only shows it. */
export function endOfJob(error: { readonly code: string; readonly message: string }): Error {
  return new UnrecoverableError(`${error.code}: ${error.message}`);
}
