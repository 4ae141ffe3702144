import type { Storage } from './storage.ts';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** A storage in memory, for tests. `now` dates its objects. */
export function openMemoryStorage(options: { now?: () => Date } = {}): Storage {
  throw new HoldfastError('internal', `not built: ${String(options.now?.())}`);
}
