import type { FileSystemSourceOptions } from '@holdfast/sources/source-options/file-system';
import { outside, refuse } from '../allowed-places.ts';
import type { SourceCheck } from './source-check.ts';

/** Code: path_outside_roots. */
export const fileSystemCheck: SourceCheck<FileSystemSourceOptions> = {
  checkReach: ({ paths, excludeFiles = [] }, { sourceRoots }) => {
    const setting = 'HOLDFAST_SOURCE_ROOTS';
    refuse('path_outside_roots', [
      ...paths.flatMap((path, index) => outside(`source.paths.${index}`, path, sourceRoots, setting)),
      ...excludeFiles.flatMap((path, index) => outside(`source.excludeFiles.${index}`, path, sourceRoots, setting)),
    ]);
  },
  password: { reason: 'is for a source that is a server' },
};
