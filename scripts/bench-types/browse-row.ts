import { join } from 'node:path';
import { openSnapshotBrowser, type SnapshotBrowser } from '../../libs/engine/src/browse/snapshot-browser.ts';
import { openRepository } from '../../libs/engine/src/repository.ts';
import { openLocalStorage } from '../../libs/storage/src/local/local-storage.ts';
import { percentile, type BenchRow, type Figure, type RowContext } from './bench-row.ts';
import { countPackFetches } from './counting-storage.ts';
import { madeFile, madeFolder, MadeSnapshots, password } from './made-snapshots.ts';

const entriesPerFolder = 10_000;
/** As a page of a file manager asks for them. */
const pageLimit = 1_000;

/** A folder of 10,000 entries in a snapshot of a million, listed from its first page to its last. */
export const browseRow: BenchRow = {
  description: 'pages of folders of 10,000 entries in a snapshot of a million',
  async measure(context) {
    const folderCount = context.isSmall ? 10 : 100;
    const path = join(context.folder, 'browse');
    const snapshotId = await makeMillion(path, folderCount, context);
    const cold: number[] = [];
    const warm: number[] = [];
    const fetches = { fetchCount: 0, bytes: 0, bytesAgain: 0 };
    let warmFetchCount = 0;
    for (let round = 0; round < context.rounds; round++) {
      const ofRound = { fetchCount: 0, bytes: 0, bytesAgain: 0 };
      const storage = countPackFetches(await openLocalStorage({ path }), ofRound);
      await using repository = await openRepository({ storage, password });
      await using browser = openSnapshotBrowser({ repository });
      // What a worker has done long before the first page is asked for: the index is in memory.
      await browser.folder(snapshotId, '/', { limit: 1 }, context.signal);
      for (let nth = 0; nth < Math.min(folderCount, 20); nth++) cold.push(await listPage(browser, snapshotId, nth, context.signal));
      const fetchCount = ofRound.fetchCount;
      // The last folders of the cold ones are what fits into memory.
      for (let nth = 0; nth < 10; nth++) {
        for (let page = 0; page < entriesPerFolder / pageLimit; page++) {
          warm.push(await listPage(browser, snapshotId, Math.min(folderCount, 20) - 1 - nth, context.signal, nameOf(page * pageLimit - 1)));
        }
      }
      warmFetchCount += ofRound.fetchCount - fetchCount;
      fetches.bytes += ofRound.bytes;
      fetches.bytesAgain += ofRound.bytesAgain;
    }
    return figuresOf({ cold, warm, warmFetchCount, bytesAgain: fetches.bytesAgain });
  },
};

interface Measured {
  readonly cold: readonly number[];
  readonly warm: readonly number[];
  readonly warmFetchCount: number;
  readonly bytesAgain: number;
}

function figuresOf({ cold, warm, warmFetchCount, bytesAgain }: Measured): Figure[] {
  return [
    { name: 'page of 1,000, first of its folder, p50', value: percentile(cold, 0.5), unit: 'ms' },
    { name: 'page of 1,000, first of its folder, p95', value: percentile(cold, 0.95), unit: 'ms' },
    { name: 'page of 1,000, folder in memory, p50', value: percentile(warm, 0.5), unit: 'ms' },
    { name: 'page of 1,000, folder in memory, p95', value: percentile(warm, 0.95), unit: 'ms', bar: '<= 100' },
    { name: 'fetches for folders in memory', value: warmFetchCount, unit: '', bar: '0' },
    { name: 'bytes of packs fetched twice', value: bytesAgain, unit: '', bar: '0' },
  ];
}

async function makeMillion(path: string, folderCount: number, { say, signal }: RowContext): Promise<string> {
  say(`making a snapshot of ${folderCount * entriesPerFolder} files`);
  const made = await MadeSnapshots.create(path, signal);
  await using _ = made.repository;
  const folders = [];
  for (let folder = 0; folder < folderCount; folder++) {
    const files = Array.from({ length: entriesPerFolder }, (__, nth) => madeFile(nameOf(nth), `${folder} ${nth}`));
    folders.push(madeFolder(folderOf(folder), await made.saveTree(files)));
  }
  await made.commit(await made.saveTree(folders));
  return made.snapshotIds[0] ?? '';
}

async function listPage(
  browser: SnapshotBrowser,
  snapshotId: string,
  folder: number,
  signal: AbortSignal,
  after?: string,
): Promise<number> {
  const startedAtMs = performance.now();
  const page = await browser.folder(
    snapshotId,
    `/${folderOf(folder)}`,
    { limit: pageLimit, ...(after === undefined ? {} : { after }) },
    signal,
  );
  const tookMs = performance.now() - startedAtMs;
  if (page.totalCount !== entriesPerFolder || page.entries.length !== pageLimit) throw new Error('a page has not what it has to have');
  return tookMs;
}

const folderOf = (nth: number): string => `folder-${String(nth).padStart(3, '0')}`;
/** The one before the first is the empty name, behind which all are. */
const nameOf = (nth: number): string => (nth < 0 ? '' : `file-${String(nth).padStart(5, '0')}.txt`);
