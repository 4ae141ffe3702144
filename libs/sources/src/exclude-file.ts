import { readFile, stat } from 'node:fs/promises';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from './allowed-roots.ts';
import { compileExcludes } from './exclude-patterns.ts';
import { readingError } from './file-system-error.ts';
import { pathFromBytes, toSystemPath } from './system-path.ts';

/** Every entry of the tree is held against every pattern. */
const maxExcludeFilePatterns = 10_000;
/** Far more than so many patterns need. */
const maxExcludeFileBytes = 4 * 1024 * 1024;

/**
 * The patterns of an exclude file, one a line; blank lines and those that begin with `#` are passed over, blanks round a pattern do
 * not count. Names of environment variables are not replaced: they would be the worker's.
 * Errors: path_outside_roots, path_not_found, path_not_readable; request_invalid for a line that is no pattern, and for too many.
 */
export async function readExcludeFile(path: string, roots: readonly string[]): Promise<string[]> {
  const real = toSystemPath(await resolveInsideRoots(path, roots));
  let text: string;
  try {
    const found = await stat(real);
    if (!found.isFile() || found.size > maxExcludeFileBytes) throw invalid(path, `is no file of at most ${maxExcludeFileBytes} bytes`);
    text = pathFromBytes(await readFile(real));
  } catch (error) {
    throw readingError(error, path);
  }
  const patterns: string[] = [];
  for (const [nth, line] of text.split('\n').entries()) {
    const pattern = line.trim();
    if (pattern === '' || pattern.startsWith('#')) continue;
    try {
      compileExcludes([pattern]);
    } catch (error) {
      if (!isHoldfastError(error, 'request_invalid')) throw error;
      throw invalid(path, `line ${nth + 1}: ${error.message}`);
    }
    patterns.push(pattern);
  }
  if (patterns.length > maxExcludeFilePatterns) throw invalid(path, `has more than ${maxExcludeFilePatterns} patterns`);
  return patterns;
}

function invalid(path: string, why: string): HoldfastError {
  return new HoldfastError('request_invalid', `exclude file ${JSON.stringify(path)} ${why}`, { context: { path } });
}
