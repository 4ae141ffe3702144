import type { BackupOptions } from '@holdfast/jobs/backup-options';
import type { ThreadOptions } from '@holdfast/engine/threads/borrowed-pool';

/** The threads that a config wants for its runs; each run has its own, because a thread's priority is for good. */
export function threadOptionsOf({ concurrency, lowPriority = false }: BackupOptions): ThreadOptions {
  return { lowPriority, ...(concurrency === undefined ? {} : { concurrency }) };
}
