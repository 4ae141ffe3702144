import { baseOfGlob } from '@holdfast/sources/glob-pattern';
import type { LogsSourceOptions } from '@holdfast/sources/source-options/logs';
import { outside, refuse } from '../allowed-places.ts';
import type { SourceCheck } from './source-check.ts';

/** The folders at which the globs begin are held against the roots. Code: path_outside_roots. */
export const logsCheck: SourceCheck<LogsSourceOptions> = {
  checkReach: ({ globs, removeAfterDays }, { sourceRoots, logRemovalRoots }) => {
    const bases = globs.map(baseOfGlob);
    refuse(
      'path_outside_roots',
      bases.flatMap((base, index) => outside(`source.globs.${index}`, base, sourceRoots, 'HOLDFAST_SOURCE_ROOTS')),
    );
    if (removeAfterDays === undefined) return;
    refuse(
      'path_outside_roots',
      bases.flatMap((base) => outside('source.removeAfterDays', base, logRemovalRoots, 'HOLDFAST_LOG_REMOVAL_ROOTS')).slice(0, 1),
    );
  },
  password: { reason: 'is for a source that is a server' },
};
