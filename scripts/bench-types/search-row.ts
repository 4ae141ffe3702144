import { join } from 'node:path';
import { openSnapshotBrowser } from '../../libs/engine/src/browse/snapshot-browser.ts';
import { openRepository } from '../../libs/engine/src/repository.ts';
import { openLocalStorage } from '../../libs/storage/src/local/local-storage.ts';
import type { TreeNode } from '../../libs/restic-format/src/node.ts';
import { percentile, type BenchRow, type RowContext } from './bench-row.ts';
import { madeFile, madeFolder, MadeSnapshots, password } from './made-snapshots.ts';

const folderCount = 100;
const filesPerFolder = 100;
/** From one snapshot to the next, each in another folder. */
const changedFolders = 10;

/** A name over 1,000 snapshots of 10,000 files, of which 10 in 10 folders change each time. */
export const searchRow: BenchRow = {
  description: 'a name over 1,000 snapshots of 10,000 files',
  async measure(context) {
    const { rounds, signal } = context;
    const path = join(context.folder, 'search');
    const snapshotIds = await makeSnapshots(path, context.isSmall ? 100 : 1000, context);
    const cold: number[] = [];
    const warm: number[] = [];
    const globs: number[] = [];
    let heldMb = 0;
    for (let round = 0; round < rounds; round++) {
      await using repository = await openRepository({ storage: await openLocalStorage({ path }), password });
      await using browser = openSnapshotBrowser({ repository });
      const search = async (pattern: string): Promise<number> => {
        const startedAtMs = performance.now();
        let versionCount = 0;
        for (let after: string | null | undefined; after !== null;) {
          const page = await browser.searchAll(snapshotIds, { pattern, limit: 1000, ...(after === undefined ? {} : { after }) }, signal);
          versionCount += page.files.reduce((sum, file) => sum + file.versions.length, 0);
          after = page.next;
        }
        if (versionCount === 0) throw new Error(`nothing was found: ${pattern}`);
        return performance.now() - startedAtMs;
      };
      const before = process.memoryUsage.rss();
      cold.push(await search('file-07-07.txt'));
      for (let nth = 10; nth < 20; nth++) warm.push(await search(`file-${nth}-${nth}.txt`));
      for (let nth = 10; nth < 20; nth++) globs.push(await search(`*-${nth}-5?.t*`));
      heldMb = Math.max(heldMb, (process.memoryUsage.rss() - before) / 1e6);
    }
    return [
      { name: 'a name, nothing in memory, p50', value: percentile(cold, 0.5), unit: 'ms' },
      { name: 'another name, in memory, p50', value: percentile(warm, 0.5), unit: 'ms' },
      { name: 'another name, in memory, p95', value: percentile(warm, 0.95), unit: 'ms', bar: '<= 2000' },
      { name: 'a glob with 10 matches, in memory, p95', value: percentile(globs, 0.95), unit: 'ms' },
      { name: 'memory that came with it', value: heldMb, unit: 'MB' },
    ];
  },
};

async function makeSnapshots(path: string, snapshotCount: number, { say, signal }: RowContext): Promise<string[]> {
  say(`making ${snapshotCount} snapshots of ${folderCount * filesPerFolder} files`);
  const made = await MadeSnapshots.create(path, signal);
  await using _ = made.repository;
  const files: TreeNode[][] = Array.from({ length: folderCount }, (__, folder) =>
    Array.from({ length: filesPerFolder }, (___, nth) => madeFile(nameOf(folder, nth), `${folder} ${nth}`)),
  );
  const trees: string[] = [];
  for (const folder of files) trees.push(await made.saveTree(folder));
  for (let snapshot = 0; snapshot < snapshotCount; snapshot++) {
    for (let nth = 0; nth < changedFolders; nth++) {
      const folder = (snapshot * changedFolders + nth) % folderCount;
      const file = (snapshot * 31 + nth * 7) % filesPerFolder;
      const nodes = files[folder] ?? [];
      nodes[file] = madeFile(nameOf(folder, file), `${folder} ${file} ${snapshot}`);
      trees[folder] = await made.saveTree(nodes);
    }
    await made.commit(await made.saveTree(trees.map((tree, folder) => madeFolder(folderOf(folder), tree))));
    signal.throwIfAborted();
  }
  return made.snapshotIds;
}

const twoDigits = (nth: number): string => String(nth).padStart(2, '0');
const folderOf = (nth: number): string => `folder-${twoDigits(nth)}`;
const nameOf = (folder: number, nth: number): string => `file-${twoDigits(folder)}-${twoDigits(nth)}.txt`;
