import type { ThreadTargetOptions } from './target.ts';
import { TargetWriter } from './target-writer.ts';

/** Opens, in a thread, the target that gave these `threadOptions`. The caller closes it. */
export function openThreadTarget(options: ThreadTargetOptions): TargetWriter {
  return new TargetWriter(options);
}
