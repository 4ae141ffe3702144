import { isHoldfastError, type HoldfastError } from '@holdfast/errors/holdfast-error';

/** True when the stored bytes are at fault: wrong, cut short or gone. False for a storage that does not answer, an abort or a defect. */
export function isDamage(error: unknown): error is HoldfastError {
  return (
    isHoldfastError(error, 'repository_damaged') ||
    isHoldfastError(error, 'storage_object_missing') ||
    isHoldfastError(error, 'storage_object_too_short')
  );
}
