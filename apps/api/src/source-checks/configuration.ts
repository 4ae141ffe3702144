import { parseConfigurationGlob, type ConfigurationSourceOptions } from '@holdfast/sources/source-options/configuration';
import { outside, refuse } from '../allowed-places.ts';
import type { SourceCheck } from './source-check.ts';

/** Code: path_outside_roots. */
export const configurationCheck: SourceCheck<ConfigurationSourceOptions> = {
  checkReach: ({ paths = [], globs = [] }, { sourceRoots }) => {
    const setting = 'HOLDFAST_SOURCE_ROOTS';
    refuse('path_outside_roots', [
      ...paths.flatMap((path, index) => outside(`source.paths.${index}`, path, sourceRoots, setting)),
      ...globs.flatMap((glob, index) => outside(`source.globs.${index}`, parseConfigurationGlob(glob).base, sourceRoots, setting)),
    ]);
  },
  password: { reason: 'is for a source that is a server' },
};
