import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { check } from './checker.ts';
import { systemClock } from './clock.ts';
import { createRepository } from './create-repository.ts';
import { forget } from './forget.ts';
import { prune } from './pruner.ts';
import { openRepository, type Repository } from './repository.ts';
import { listSnapshots } from './snapshots.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import { findStockRestics } from './testing/stock-restic.ts';
import { archiveTree, cheapKdf as kdf, expectedContents, noise, restoredContents, restoreTree, text } from './testing/test-repository.ts';

/** RACE_SECONDS for a longer one. */
const durationMs = Number(process.env['RACE_SECONDS'] ?? 60) * 1000;
const settleMs = 60_000;

let path = '';
beforeAll(async () => {
  path = await mkdtemp(`${tmpdir()}/holdfast-race-`);
});
afterAll(() => rm(path, { recursive: true, force: true }));

const openAgain = async (): Promise<Repository> => await openRepository({ storage: await openLocalStorage({ path }), password: 'secret' });

/** Much of it is the same each time and in every lane, so that one run leans on what another stores or is about to remove. */
function treeOf(lane: number, round: number): MemoryFolder {
  const entries: Record<string, MemoryFolder[string]> = {};
  for (let nth = 0; nth < 12; nth++) {
    const seed = (lane * 7 + round * 5 + nth * 3) % 40;
    entries[`file-${nth}`] = { type: 'file', bytes: noise(5_000 + seed * 9_000, seed) };
  }
  return { data: { type: 'dir', entries: { ...entries, own: text(`${lane} ${round}`) } } };
}

it(
  'three backups, a prune and a check at once leave every snapshot whole',
  async () => {
    const storage = await openLocalStorage({ path });
    await (await createRepository({ storage, password: 'secret', hostname: 'host', username: 'ann', kdf })).close();
    const end = Date.now() + durationMs;
    const trees = new Map<string, MemoryFolder>();
    const done = { backup: 0, prune: 0, check: 0, forget: 0 };
    const locked = { backup: 0, prune: 0, check: 0, forget: 0 };

    /** Repeats the work, each time with a repository that is opened anew, as another process would; a lock is waited for. */
    const repeat = async (kind: keyof typeof done, pauseMs: number, work: (repository: Repository, round: number) => Promise<void>) => {
      for (let round = 0; Date.now() < end; round++) {
        await using repository = await openAgain();
        try {
          await work(repository, round);
          done[kind]++;
        } catch (error) {
          if (!isHoldfastError(error, 'repository_locked')) throw error;
          locked[kind]++;
        }
        await new Promise((resolve) => setTimeout(resolve, Math.random() * pauseMs));
      }
    };
    const waitMs = 20_000;
    const backups = [0, 1, 2].map((lane) =>
      repeat('backup', 1500, async (repository, round) => {
        const tree = treeOf(lane, round);
        // The real clock: two that begin together have to settle.
        const { snapshotId } = await archiveTree(repository, tree, { clock: systemClock, waitMs, tags: [`lane:${lane}`] });
        trees.set(snapshotId, tree);
      }),
    );
    const pruning = repeat('prune', 500, async (repository) => {
      const old = (await listSnapshots(repository)).slice(0, -6).map(({ id }) => id);
      for (const id of (await forget({ repository, snapshotIds: old, waitMs })).forgottenIds) trees.delete(id);
      done.forget++;
      await prune({ repository, maxUnusedPercent: 0, waitMs });
    });
    const checking = repeat('check', 500, async (repository, round) => {
      const { findings } = await check({ repository, level: round % 2 === 0 ? 'integrity' : 'checksum', waitMs });
      expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
    });
    await Promise.all([...backups, pruning, checking]);

    process.stdout.write(`race: done ${JSON.stringify(done)}, locked out ${JSON.stringify(locked)}\n`);
    expect(Math.min(done.backup, done.prune, done.check)).toBeGreaterThan(0);
    await using repository = await openAgain();
    await prune({ repository, maxUnusedPercent: 0 });
    for (const level of ['integrity', 'checksum'] as const) expect((await check({ repository, level })).findings).toEqual([]);
    const left = await listSnapshots(repository);
    expect(left.map(({ id }) => id).toSorted()).toEqual([...trees.keys()].toSorted());
    for (const [id, tree] of trees) expect(restoredContents(await restoreTree(repository, id))).toEqual(expectedContents(tree));
    expect(await Array.fromAsync(repository.storage.list('locks/'))).toEqual([]);
    for (const restic of (await findStockRestics()).found) {
      expect(await restic.run(path, ['check', '--read-data'])).toContain('no errors were found');
    }
  },
  durationMs + settleMs,
);
