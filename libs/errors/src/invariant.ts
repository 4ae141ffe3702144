import { HoldfastError } from './holdfast-error.ts';

/** Throws `internal` when `condition` is false: for what only a defect of ours can break. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new HoldfastError('internal', message);
}
