import { describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import type { EngineProgress } from './progress.ts';
import { restore } from './restorer.ts';
import { listSnapshots } from './snapshots.ts';
import { openMemoryTarget } from './testing/memory-target.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import { archiveTree, createTestRepository, impatientClock as clock, noise } from './testing/test-repository.ts';

const tree: MemoryFolder = {
  data: {
    type: 'dir',
    entries: Object.fromEntries([1, 2, 3, 4].map((nth) => [`f${nth}`, { type: 'file', bytes: noise(1_000_000, nth) } as const])),
  },
};

/** Collects progress and checks that it only goes forward and never beyond its total. */
function collect(): { seen: EngineProgress[]; onProgress: (progress: EngineProgress) => void } {
  const seen: EngineProgress[] = [];
  const onProgress = (progress: EngineProgress): void => {
    const last = seen.at(-1);
    if (last?.phase === progress.phase) {
      expect(progress.bytesDone).toBeGreaterThanOrEqual(last.bytesDone);
      expect(progress.filesDone).toBeGreaterThanOrEqual(last.filesDone);
    }
    expect(progress.bytesDone).toBeLessThanOrEqual(progress.bytesTotal ?? Infinity);
    expect(progress.filesDone).toBeLessThanOrEqual(progress.filesTotal ?? Infinity);
    seen.push(progress);
  };
  return { seen, onProgress };
}

describe('progress', () => {
  it('of a first backup, of a second one, of a restore and of a check ends at the totals', async () => {
    const repository = await createTestRepository();
    const whole = { filesDone: 4, filesTotal: 4, bytesDone: 4_000_000, bytesTotal: 4_000_000 };
    const first = collect();
    const { snapshotId } = await archiveTree(repository, tree, first);
    expect(first.seen.at(-1)).toEqual({ phase: 'saving', ...whole });

    const second = collect();
    const [parent] = await listSnapshots(repository);
    await archiveTree(repository, tree, parent ? { parent, ...second } : second);
    expect(second.seen[0]).toEqual({ phase: 'opening', ...whole, filesDone: 0, bytesDone: 0 });
    expect(second.seen.at(-1)).toEqual({ phase: 'saving', ...whole });

    const restored = collect();
    await restore({ repository, snapshotId, target: openMemoryTarget(), clock, ...restored });
    expect(restored.seen.at(-1)).toEqual({ phase: 'restoring', ...whole });

    const checked = collect();
    await check({ repository, level: 'checksum', clock, ...checked });
    const last = checked.seen.at(-1);
    expect(last).toMatchObject({ phase: 'checking_packs', filesDone: last?.filesTotal, bytesDone: last?.bytesTotal });
  });
});
