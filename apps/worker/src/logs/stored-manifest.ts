import type { SnapshotFiles } from '@holdfast/engine/snapshot-files';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { decodeManifest, type LogEntry } from '@holdfast/sources/logs/log-manifest';
import { manifestPath } from '@holdfast/sources/logs/log-texts';

/** What a snapshot's manifest says; null for a snapshot without one. Codes: repository_damaged, those of the storage. */
export async function loadManifest(files: SnapshotFiles): Promise<LogEntry[] | null> {
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of files.read(manifestPath)) pieces.push(piece);
  } catch (error) {
    if (isHoldfastError(error, 'path_not_found')) return null;
    throw error;
  }
  return decodeManifest(Buffer.concat(pieces));
}
