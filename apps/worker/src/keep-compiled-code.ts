import { mkdir, stat } from 'node:fs/promises';
import { enableCompileCache } from 'node:module';
import { processUser } from '@holdfast/engine/process-user';

/**
 * Keeps compiled code in `folder`, which is made, for the threads of later runs: a run has threads of its own, and each would compile what it
 * loads anew. It is only a cache, so where it cannot be kept there is none. Code from it is run without being looked at: a folder that
 * somebody else owns or may write to is left alone, and then the result is false.
 */
export async function keepCompiledCode(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = await stat(folder);
    if (uid !== processUser().uid || (mode & othersWrite) !== 0) return false;
  } catch {
    // No room, or a disk that is only read.
    return false;
  }
  return enableCompileCache(folder).directory !== undefined;
}

/** S_IWGRP and S_IWOTH. */
const othersWrite = 0o022;
