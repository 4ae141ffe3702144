import { withSnapshotFiles, type SnapshotFilesOptions } from '@holdfast/engine/snapshot-files';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { encodeFacts, recoveryFactsSchema, type RecoveryFacts } from '@holdfast/policy/recovery-facts';

/** In the snapshot of every physical or incremental backup: the facts of its row, as encodeFacts makes them. */
export const factsPath = '/backup.json';

export function factsText(facts: RecoveryFacts): string {
  return `${JSON.stringify(encodeFacts(facts), null, 2)}\n`;
}

/** The facts of a snapshot that was made before its row knew. Codes: those of withSnapshotFiles, repository_damaged. */
export async function loadStoredFacts(options: SnapshotFilesOptions): Promise<RecoveryFacts> {
  const text = await withSnapshotFiles(options, async (files) => {
    const pieces: Uint8Array[] = [];
    for await (const piece of files.read(factsPath)) pieces.push(piece);
    return Buffer.concat(pieces).toString('utf8');
  });
  try {
    return recoveryFactsSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new HoldfastError('repository_damaged', `${factsPath} of snapshot ${options.snapshotId} cannot be read`, { cause: error });
  }
}
