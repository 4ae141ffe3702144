// node --expose-gc index-process.ts REPOSITORY RESULT   opens the repository's index and writes what it holds in memory, as JSON.
import { writeFileSync } from 'node:fs';
import { loadIndex } from '../../libs/engine/src/load-index.ts';
import { openRepository } from '../../libs/engine/src/repository.ts';
import { openLocalStorage } from '../../libs/storage/src/local/local-storage.ts';

const [repositoryPath = '', resultPath = ''] = process.argv.slice(2);
const password = process.env['RESTIC_PASSWORD'] ?? '';
await using repository = await openRepository({ storage: await openLocalStorage({ path: repositoryPath }), password });
const before = usedBytes();
const startedAtMs = performance.now();
const { index } = await loadIndex(repository);
const openMs = performance.now() - startedAtMs;
const heldBytes = usedBytes() - before;
// Read after the measuring, so that nothing of the index may go before.
writeFileSync(resultPath, JSON.stringify({ blobCount: index.entryCount, heldBytes, openMs }));

/**
 * Resident memory after a collection. Not what V8 counts: the index lies in memory that threads share, which is in none of its figures.
 * What the allocator keeps for later is in it, so it is rather too much than too little.
 */
function usedBytes(): number {
  if (globalThis.gc === undefined) throw new Error('needs --expose-gc');
  // The second finds what the first one's finalizers let go.
  for (let nth = 0; nth < 2; nth++) globalThis.gc();
  return process.memoryUsage.rss();
}
