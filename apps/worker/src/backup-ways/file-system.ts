import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import type { FileSystemSourceOptions } from '@holdfast/sources/source-options/file-system';
import { archiveTree } from './archive-tree.ts';
import type { BackupWay } from './backup-way.ts';

/** Codes: path_outside_roots, those of archiveTree. */
export const fileSystemWay: BackupWay<FileSystemSourceOptions> = {
  backUp: async (run, _work, options, storing) => {
    const source = await openFileSystemSource({ ...options, roots: run.context.config.sourceRoots });
    return await archiveTree(run, { source, excludes: options.excludes ?? [] }, storing);
  },
};
