import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { Source, SourceEntry } from '@holdfast/sources/source';
import { joinPath } from './source-node.ts';

export interface SourceTotals {
  readonly files: number;
  readonly bytes: number;
}

/** Counts what a source shows, ahead of the backup that reads it: for the progress only. Aborts with the signal's reason. */
export async function scanSource(source: Source, signal: AbortSignal): Promise<SourceTotals> {
  if (source.estimate !== undefined) return await source.estimate({ signal });
  let files = 0;
  let bytes = 0;
  const folders = ['/'];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    signal.throwIfAborted();
    for (const entry of await listOrNothing(source, folder, signal)) {
      if (entry.kind === 'skipped') continue;
      if (entry.node.type === 'dir') folders.push(joinPath(folder, entry.node.name));
      if (entry.node.type !== 'file') continue;
      files++;
      bytes += entry.node.sizeBytes;
    }
  }
  return { files, bytes };
}

async function listOrNothing(source: Source, folder: string, signal: AbortSignal): Promise<SourceEntry[]> {
  try {
    return await source.readDirectory(folder, { signal });
  } catch (error) {
    // The backup meets it too, and it is the one to report it.
    if (isHoldfastError(error, 'path_not_found') || isHoldfastError(error, 'path_not_readable')) return [];
    throw error;
  }
}
