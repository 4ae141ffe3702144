import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Target } from './target.ts';

export interface FileSystemTargetOptions {
  /** The absolute folder below which everything is put; made by `open` when it is not there. */
  readonly path: string;
  /** The allowed target roots. */
  readonly roots: readonly string[];
  /** Whether a folder that holds something may be written into, and what is in the way replaced. */
  readonly overwrite: boolean;
}

/** A folder of this machine as a target. Nothing is touched before `open`. */
export function openFileSystemTarget(options: FileSystemTargetOptions): Target {
  throw new HoldfastError('internal', `not built: ${options.path}`);
}
