import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { nicenessOfThread } from './testing/echo-session.ts';
import { makeFolderRepository } from './testing/folder-repository.ts';
import { noise } from './testing/test-repository.ts';
import { lowNiceness } from './threads/thread-priority.ts';

/** Thread numbers of the kernel; the niceness of those that are gone meanwhile is null. */
function nicenessOfAllThreads(): Map<string, number | null> {
  const nicenessOf = (id: string): number | null => {
    try {
      return nicenessOfThread(`/proc/${process.pid}/task/${id}`);
    } catch {
      return null;
    }
  };
  return new Map(readdirSync(`/proc/${process.pid}/task`).map((id) => [id, nicenessOf(id)]));
}

/** The files are large, because a few small ones are stored without threads. */
describe('a backup by threads', () => {
  it('keeps to the limit of its storage', async () => {
    const [sizeBytes, bytesPerSecond] = [20_000_000, 8_000_000];
    await using folder = await makeFolderRepository({ limits: { uploadBytesPerSecond: bytesPerSecond } });
    for (const nth of [1, 2]) await writeFile(join(folder.source, `${nth}.bin`), noise(sizeBytes / 2, nth));
    const startedAt = performance.now();
    const { summary } = await folder.archive({ concurrency: 2 });
    const tookSeconds = (performance.now() - startedAt) / 1000;
    expect(summary.dataAddedPacked).toBeGreaterThanOrEqual(sizeBytes);
    expect(summary.dataAddedPacked / (tookSeconds + 0.25)).toBeLessThan(bytesPerSecond);
    expect((await check({ repository: folder.repository, level: 'full' })).findings).toEqual([]);
  });

  it('ends within a second when it is aborted while it waits for the limit', async () => {
    await using folder = await makeFolderRepository({ limits: { uploadBytesPerSecond: 20_000 } });
    for (let nth = 0; nth < 8; nth++) await writeFile(join(folder.source, `${nth}.bin`), noise(12_000_000, nth));
    const abort = new AbortController();
    const running = folder.archive({ concurrency: 2, signal: abort.signal });
    running.catch(() => {});
    await delay(1500);
    const startedAt = performance.now();
    abort.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    expect(performance.now() - startedAt).toBeLessThan(1000);
  });

  it.runIf(process.platform === 'linux')('is nice when its priority is low, in its own threads only', async () => {
    await using folder = await makeFolderRepository();
    await writeFile(join(folder.source, 'a.bin'), noise(10_000_000, 1));
    const before = nicenessOfAllThreads();
    let during = new Map<string, number | null>();
    await folder.archive({ concurrency: 2, lowPriority: true, commit: (write) => ((during = nicenessOfAllThreads()), write()) });
    const added = [...during].filter(([id]) => !before.has(id)).map(([, niceness]) => niceness);
    expect(added.filter((niceness) => niceness === lowNiceness)).toHaveLength(2);
    for (const [id, niceness] of before) if (during.has(id)) expect(during.get(id)).toBe(niceness);
  });
});
