import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { mkdir, mkdtemp, readFile, realpath, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRepository } from '../repository.ts';
import { listSnapshots } from '../snapshots.ts';
import { makeRealTree } from '../testing/real-tree.ts';
import { findStockRestics, type StockRestic } from '../testing/stock-restic.ts';
import { noise } from '../testing/test-repository.ts';
import { openSnapshotBrowser, type SnapshotBrowser } from './snapshot-browser.ts';

const { found } = await findStockRestics();
const { signal } = new AbortController();
let place = '';
let source = '';

beforeAll(async () => {
  place = await realpath(await mkdtemp(`${tmpdir()}/holdfast-browse-`));
  source = `${place}/source`;
});
afterAll(() => rm(place, { recursive: true, force: true }));

interface ListedByRestic {
  readonly struct_type: string;
  readonly path: string;
  readonly type: string;
  readonly size?: number;
  readonly uid: number;
  readonly mtime: string;
}

const linesOf = <T>(output: string): T[] =>
  output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T);

/** Two snapshots by restic, of a real tree and of what became of it. */
async function backUpTwice(restic: StockRestic, path: string): Promise<void> {
  await rm(source, { recursive: true, force: true });
  await mkdir(source);
  await makeRealTree(source);
  await restic.run(path, ['init', '--repository-version', '2']);
  await restic.run(path, ['backup', source]);
  await writeFile(`${source}/small.txt`, 'not so small any more\n');
  await rm(`${source}/sub/deep/same-again.bin`);
  await rename(`${source}/sub/deep/deeper`, `${source}/sub/moved`);
  await rm(`${source}/empty`);
  await mkdir(`${source}/empty`);
  await writeFile(`${source}/new.bin`, noise(3_000_000, 7));
  await utimes(`${source}/text.sql`, 1, 1);
  await restic.run(path, ['backup', source]);
}

async function withBrowser(path: string, use: (browser: SnapshotBrowser, ids: readonly string[]) => Promise<void>): Promise<void> {
  await using repository = await openRepository({ storage: await openLocalStorage({ path }), password: 'secret' });
  await using browser = openSnapshotBrowser({ repository });
  await use(
    browser,
    (await listSnapshots(repository)).map(({ id }) => id),
  );
}

describe.each(found)('a repository of $name ($version)', (restic) => {
  let path = '';
  beforeAll(async () => {
    path = `${place}/${restic.version}`;
    await backUpTwice(restic, path);
  });

  it('has the files that `restic ls` tells', async () => {
    await withBrowser(path, async (browser, [id = '']) => {
      const told = linesOf<ListedByRestic>(await restic.run(path, ['ls', '--json', id])).filter(
        ({ struct_type }) => struct_type === 'node',
      );
      const walked = await Array.fromAsync(browser.walk(id, {}, signal));
      const lines = (entries: readonly { path: string; type: string; size?: number; uid: number }[]) =>
        entries.map(({ path: at, type, size = 0, uid }) => `${at} ${type} ${type === 'file' ? size : 0} ${uid}`).toSorted();
      expect(lines(walked.map(({ path: at, node }) => ({ path: at, type: node.type, size: node.sizeBytes ?? 0, uid: node.uid })))).toEqual(
        lines(told),
      );
      expect(told.length).toBeGreaterThan(200);
      const folder = await browser.folder(id, source, { limit: 100 }, signal);
      const inFolder = told.filter(({ path: at }) => at.startsWith(`${source}/`) && !at.slice(source.length + 1).includes('/'));
      expect(folder.entries.map((entry) => entry.path).toSorted()).toEqual(inFolder.map((entry) => entry.path).toSorted());
    });
  });

  it('differs as `restic diff` tells', async () => {
    await withBrowser(path, async (browser, [before = '', after = '']) => {
      const told = linesOf<{ message_type: string; path: string; modifier: string }>(
        await restic.run(path, ['diff', '--json', '--metadata', before, after]),
      );
      const modifiers = { added: '+', removed: '-', modified: 'M', metadata: 'U', type_changed: 'T' } as const;
      const { entries, totals } = await browser.diff(before, after, { limit: 10_000 }, signal);
      const ours = entries.map(({ path: at, change }) => `${modifiers[change]} ${at}`);
      // Theirs are more: a file whose access or change time alone has changed, and folders with a slash.
      const theirs = told
        .filter(({ message_type }) => message_type === 'change')
        .map((line) => `${line.modifier[0]} ${line.path.replace(/(?<=.)\/$/, '')}`);
      for (const kind of ['+', '-', 'M', 'T']) {
        const ofKind = (lines: readonly string[]) => lines.filter((line) => line.startsWith(kind)).toSorted();
        expect(ofKind(ours)).toEqual(ofKind(theirs));
      }
      expect(theirs).toEqual(expect.arrayContaining(ours.filter((line) => line.startsWith('U'))));
      expect(ours).toContain(`U ${source}/text.sql`);
      expect(totals).toMatchObject({ modified: 2, type_changed: 1, removed: 202, added: 202 });
    });
  });

  it.each(['file-1*', 'same*', '*.txt', 'ümläut', '?', '[ab]*'])('has what `restic find %s` finds', async (pattern) => {
    await withBrowser(path, async (browser, [id = '']) => {
      const [told] = JSON.parse(await restic.run(path, ['find', '--json', '--snapshot', id, pattern])) as { matches: { path: string }[] }[];
      const { entries, next, unreadable } = await browser.search(id, { pattern, limit: 1000 }, signal);
      expect(unreadable).toEqual([]);
      expect(entries.map((entry) => entry.path).toSorted()).toEqual((told?.matches ?? []).map((match) => match.path).toSorted());
      expect(entries.length).toBeGreaterThan(0);
      expect(next).toBeNull();
    });
  });

  it('has the bytes that `restic dump` gives', async () => {
    await withBrowser(path, async (browser, [id = '']) => {
      for (const name of ['random.bin', 'text.sql', 'sub/same.bin', 'sub/日本語']) {
        const bytes = Buffer.concat(
          await Array.fromAsync(browser.read(id, `${source}/${name}`, { offsetBytes: 0, lengthBytes: Number.POSITIVE_INFINITY }, signal)),
        );
        const { sizeBytes } = await browser.entry(id, `${source}/${name}`, signal);
        expect(bytes.length).toBe(sizeBytes);
        await restic.run(path, ['restore', id, '--target', `${place}/dumped`, '--include', `${source}/${name}`]);
        expect(bytes.equals(await readFile(`${place}/dumped${source}/${name}`))).toBe(true);
        if (name === 'text.sql') expect(await restic.run(path, ['dump', id, `${source}/${name}`])).toBe(bytes.toString());
      }
    });
  });

  it('tells over time what each snapshot has', async () => {
    await withBrowser(path, async (browser, ids) => {
      const { files } = await browser.searchAll(ids, { pattern: 'small.txt', limit: 10 }, signal);
      expect(files).toMatchObject([
        {
          path: `${source}/small.txt`,
          versions: [
            { sizeBytes: 6, firstSnapshot: ids[0], lastSnapshot: ids[0], snapshotCount: 1 },
            { sizeBytes: 22, firstSnapshot: ids[1], lastSnapshot: ids[1], snapshotCount: 1 },
          ],
        },
      ]);
    });
  });
});
