import { z } from 'zod';
import { absolutePathSchema } from './source-options.ts';

/** More is a full recovery with excludes, and every entry of the snapshot is held against each. */
const maxPathCount = 1000;

/** How a snapshot is recovered: which of its paths (all when absent), and whether what is at the target may be replaced. */
export const recoveryOptionsSchema = z.strictObject({
  paths: z.array(absolutePathSchema).min(1).max(maxPathCount).optional(),
  overwrite: z.boolean().default(false),
});
