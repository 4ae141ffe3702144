import type { BlobIndex } from './blob-index.ts';
import type { Clock } from './clock.ts';
import { createIndexWriter } from './index-writer.ts';
import { listPackSizes } from './pack-list.ts';
import { examinePack } from './repair-packs.ts';
import type { Repository } from './repository.ts';
import { forEachConcurrently } from './slots.ts';

/** Headers are small reads: enough at once to hide a network's latency. */
const concurrentReads = 8;

/**
 * Puts packs that are in the storage and in no index into an index file and into `index`: those of a run that was killed before it could,
 * which then need not be sent again. By their headers; a pack that is not whole is left for prune. Whoever writes packs at the same time
 * indexes its own as well, which costs a line in an index and no more. Returns how many. Errors: those of the storage.
 */
export async function indexLandedPacks(
  repository: Repository,
  index: BlobIndex,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<number> {
  const sizes = await listPackSizes(repository, signal);
  for (const { packId } of index.packs()) sizes.delete(packId);
  let foundCount = 0;
  const writer = createIndexWriter(repository, clock, signal, (packs) => {
    for (const pack of packs) index.add(pack);
    foundCount += packs.length;
  });
  await forEachConcurrently(sizes, concurrentReads, async ([packId, sizeBytes]) => {
    const state = await examinePack(repository, { packId, sizeBytes, indexed: [] }, signal);
    if (state.kind === 'whole') await writer.add(state.pack);
  });
  await writer.finish();
  return foundCount;
}
