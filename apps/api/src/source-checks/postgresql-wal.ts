import type { IncrementalSourceOptions } from '@holdfast/sources/source-options/postgresql-wal';
import type { SourceCheck } from './source-check.ts';

/** Its server is that of the base config, which was checked when it was written. */
export const postgresqlWalCheck: SourceCheck<IncrementalSourceOptions> = {
  checkReach: () => undefined,
  password: { reason: 'is that of the base config' },
};
