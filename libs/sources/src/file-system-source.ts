import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Source } from './source.ts';

export interface FileSystemSourceOptions {
  /** Absolute; a path inside another one is dropped. */
  readonly paths: readonly string[];
  /** Patterns of exclude-patterns.ts. */
  readonly excludes?: readonly string[];
  /** The allowed source roots. */
  readonly roots: readonly string[];
}

/**
 * Opens folders and files of this machine as a source.
 * Errors: path_outside_roots, path_not_found, path_not_readable, request_invalid (a pattern).
 */
export async function openFileSystemSource(options: FileSystemSourceOptions): Promise<Source> {
  throw new HoldfastError('internal', `not built: ${options.paths.join(' ')}`);
}
