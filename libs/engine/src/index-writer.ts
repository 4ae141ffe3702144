import { encodeIndexFile, splitIndex, type IndexedPack } from '@holdfast/restic-format/index-file';
import { indexName } from '@holdfast/restic-format/layout';
import type { Clock } from './clock.ts';
import { saveNamedFile } from './named-file.ts';
import type { Repository } from './repository.ts';

/** How far the index may be behind the packs that are durable: what a killed run has to upload again. */
export const maxPacksBehind = 8;
export const maxMsBehind = 30_000;

/** Writes index files for packs as they land. */
export interface IndexWriter {
  /** Notes a durable pack; writes an index file when too many wait, or wait too long. */
  add(pack: IndexedPack): Promise<void>;
  /** Writes what is left. When it returns, every pack added is in a durable index file. */
  finish(): Promise<void>;
}

/** `onWritten` hears of the packs of each index file that is durable. */
export function createIndexWriter(
  repository: Repository,
  clock: Clock,
  signal: AbortSignal,
  onWritten: (packs: readonly IndexedPack[]) => void = () => {},
): IndexWriter {
  let waiting: IndexedPack[] = [];
  let waitingSinceMs = 0;

  const write = async (): Promise<void> => {
    const packs = waiting;
    waiting = [];
    for (const group of splitIndex(packs)) {
      const id = await saveNamedFile(repository, indexName, encodeIndexFile({ packs: group }, repository.cipher), signal);
      onWritten(group);
      repository.indexMirror?.note(id, group);
    }
  };
  return {
    async add(pack) {
      const nowMs = clock.now().getTime();
      if (waiting.length === 0) waitingSinceMs = nowMs;
      waiting.push(pack);
      if (waiting.length >= maxPacksBehind || nowMs - waitingSinceMs >= maxMsBehind) await write();
    },
    finish: write,
  };
}
