import { afterEach, describe, expect, it } from 'vitest';
import { forget } from '../forget.ts';
import { prune } from '../pruner.ts';
import type { Repository } from '../repository.ts';
import type { MemoryFolder } from '../testing/memory-source.ts';
import { archiveTree, createTestRepository, impatientClock, noise, text } from '../testing/test-repository.ts';
import { openSnapshotBrowser, type BrowserOptions, type SnapshotBrowser } from './snapshot-browser.ts';
import type { WalkedEntry } from './snapshot-walk.ts';

const { signal } = new AbortController();
let opened = new AsyncDisposableStack();
afterEach(async () => {
  const ended = opened;
  opened = new AsyncDisposableStack();
  await ended.disposeAsync();
});

const dir = (entries: MemoryFolder) => ({ type: 'dir', entries }) as const;
const big = noise(5_000_000, 3);

const tree: MemoryFolder = {
  data: dir({
    'a.txt': text('a'),
    'big.bin': { type: 'file', bytes: big },
    empty: dir({}),
    link: { type: 'symlink', linkTarget: '../a.txt' },
    reports: dir({ '2024': dir({ 'jan.pdf': text('january'), 'feb.pdf': text('february') }), 'jan.pdf': text('copy') }),
    zero: text(''),
  }),
  other: dir({ 'jan.PDF': text('capital') }),
};

async function browserOf(repository: Repository, options: Partial<BrowserOptions> = {}): Promise<SnapshotBrowser> {
  return openSnapshotBrowser({ repository, clock: impatientClock, ...options });
}

async function archived(folder: MemoryFolder): Promise<{ repository: Repository; snapshotId: string }> {
  const repository = await createTestRepository();
  return { repository, snapshotId: (await archiveTree(repository, folder)).snapshotId };
}

/** Nobody changes it: it is made once. */
let ofTree: ReturnType<typeof archived> | undefined;

async function backedUp(folder?: MemoryFolder): Promise<{ repository: Repository; snapshotId: string; browser: SnapshotBrowser }> {
  const { repository, snapshotId } = await (folder === undefined ? (ofTree ??= archived(tree)) : archived(folder));
  return { repository, snapshotId, browser: opened.use(await browserOf(repository)) };
}

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(pieces));
}

const pathsOf = (entries: readonly { readonly path: string }[]): string[] => entries.map(({ path }) => path);

describe('a folder of a snapshot', () => {
  it('is listed page by page, by name', async () => {
    const { browser, snapshotId } = await backedUp();
    const first = await browser.folder(snapshotId, '/data', { limit: 4 }, signal);
    expect(pathsOf(first.entries)).toEqual(['/data/a.txt', '/data/big.bin', '/data/empty', '/data/link']);
    expect(first).toMatchObject({ totalCount: 6, next: 'link' });
    const second = await browser.folder(snapshotId, '/data/', { limit: 4, after: 'link' }, signal);
    expect(pathsOf(second.entries)).toEqual(['/data/reports', '/data/zero']);
    expect(second.next).toBeNull();
    expect(first.entries[1]).toMatchObject({
      name: 'big.bin',
      type: 'file',
      sizeBytes: big.length,
      mode: 0o644,
      user: 'ann',
      isUnsafe: false,
    });
    expect(first.entries[3]).toMatchObject({ type: 'symlink', linkTarget: '../a.txt', sizeBytes: 0 });
  });

  it('tells how many entries a folder has that was looked into before', async () => {
    const { browser, snapshotId } = await backedUp();
    expect((await browser.entry(snapshotId, '/data', signal)).childCount).toBeUndefined();
    await browser.folder(snapshotId, '/data', { limit: 1 }, signal);
    expect((await browser.entry(snapshotId, '/data', signal)).childCount).toBe(6);
  });

  it('tells equal content by its id', async () => {
    const { browser, snapshotId } = await backedUp({ a: text('same'), b: text('same'), c: text('other'), d: text(''), e: text('') });
    const { entries } = await browser.folder(snapshotId, '/', { limit: 10 }, signal);
    const ids = entries.map(({ contentId }) => contentId);
    expect(ids[0]).toBe(ids[1]);
    expect(ids[3]).toBe(ids[4]);
    expect(new Set(ids).size).toBe(3);
  });

  it.each([
    ['data', 'path has to begin with a slash'],
    ['/data/../other', 'path holds the name .., which leads elsewhere'],
    ['/./data', 'path holds the name ., which leads elsewhere'],
    ['//data', 'path has two slashes one after the other'],
    ['/da\0ta', 'path holds a NUL'],
  ])('refuses the path %j', async (path, message) => {
    const { browser, snapshotId } = await backedUp();
    await expect(browser.folder(snapshotId, path, { limit: 1 }, signal)).rejects.toMatchObject({ code: 'request_invalid', message });
    await expect(browser.entry(snapshotId, path, signal)).rejects.toMatchObject({ code: 'request_invalid', message });
  });

  it('says what is not there', async () => {
    const { browser, snapshotId } = await backedUp();
    const missing = { code: 'path_not_found' };
    await expect(browser.folder(snapshotId, '/data/none', { limit: 1 }, signal)).rejects.toMatchObject(missing);
    await expect(browser.folder(snapshotId, '/data/a.txt', { limit: 1 }, signal)).rejects.toMatchObject(missing);
    await expect(browser.entry(snapshotId, '/data/a.txt/below', signal)).rejects.toMatchObject(missing);
    await expect(browser.entry(snapshotId, '/data/link/below', signal)).rejects.toMatchObject(missing);
    await expect(browser.entry('f'.repeat(64), '/', signal)).rejects.toMatchObject({ code: 'snapshot_missing' });
    await expect(browser.folder(snapshotId, '/', { limit: 0 }, signal)).rejects.toMatchObject({ context: { field: 'limit' } });
  });

  it('is found again after a cleanup has moved its tree', async () => {
    const repository = await createTestRepository();
    const first = await archiveTree(repository, { ...tree, gone: { type: 'file', bytes: noise(3_000_000, 8) }, x: dir({ y: text('y') }) });
    const second = await archiveTree(repository, tree);
    const browser = opened.use(await browserOf(repository, { limits: { maxWindowBytes: 1 } }));
    await browser.folder(second.snapshotId, '/', { limit: 1 }, signal);
    await forget({ repository, snapshotIds: [first.snapshotId], clock: impatientClock });
    await prune({ repository, clock: impatientClock, maxUnusedPercent: 0 });
    expect((await browser.folder(second.snapshotId, '/data/reports', { limit: 9 }, signal)).totalCount).toBe(2);
    await expect(browser.folder(first.snapshotId, '/x', { limit: 1 }, signal)).rejects.toMatchObject({ code: 'snapshot_missing' });
  });
});

describe('a search', () => {
  it.each([
    ['jan.pdf', ['/data/reports/2024/jan.pdf', '/data/reports/jan.pdf']],
    ['*.pdf', ['/data/reports/2024/feb.pdf', '/data/reports/2024/jan.pdf', '/data/reports/jan.pdf']],
    ['2024/*.pdf', ['/data/reports/2024/feb.pdf', '/data/reports/2024/jan.pdf']],
    ['/data/*', ['/data/a.txt', '/data/big.bin', '/data/empty', '/data/link', '/data/reports', '/data/zero']],
    ['/data/**/jan*', ['/data/reports/2024/jan.pdf', '/data/reports/jan.pdf']],
    ['[jf]??.pdf', ['/data/reports/2024/feb.pdf', '/data/reports/2024/jan.pdf', '/data/reports/jan.pdf']],
    ['nowhere', []],
  ])('finds %s', async (pattern, paths) => {
    const { browser, snapshotId } = await backedUp();
    const found = await browser.search(snapshotId, { pattern, limit: 10 }, signal);
    expect(pathsOf(found.entries)).toEqual(paths);
    expect(found).toMatchObject({ next: null, unreadable: [] });
  });

  it('takes a folder to begin in, types, and letters of either kind', async () => {
    const { browser, snapshotId } = await backedUp();
    const find = async (query: { pattern: string; below?: string; types?: readonly ['dir']; ignoresCase?: boolean }) =>
      pathsOf((await browser.search(snapshotId, { limit: 10, ...query }, signal)).entries);
    expect(await find({ pattern: 'jan.pdf', below: '/data/reports/2024' })).toEqual(['/data/reports/2024/jan.pdf']);
    expect(await find({ pattern: '*', types: ['dir'], below: '/data' })).toEqual(['/data/empty', '/data/reports', '/data/reports/2024']);
    expect(await find({ pattern: 'JAN.pdf', ignoresCase: true })).toHaveLength(3);
    await expect(find({ pattern: '*', below: '/none' })).rejects.toMatchObject({ code: 'path_not_found' });
    await expect(find({ pattern: '[' })).rejects.toMatchObject({ code: 'request_invalid', context: { field: 'pattern' } });
    await expect(find({ pattern: '!x' })).rejects.toMatchObject({ code: 'request_invalid', context: { field: 'pattern' } });
  });

  it.each([1, 2, 3, 100])('gives the same in pages of %i', async (limit) => {
    const { browser, snapshotId } = await backedUp();
    const all = pathsOf((await browser.search(snapshotId, { pattern: '**', limit: 100 }, signal)).entries);
    expect(all).toHaveLength(13);
    const paged: string[] = [];
    let after: string | undefined;
    do {
      const page = await browser.search(snapshotId, { pattern: '**', limit, ...(after === undefined ? {} : { after }) }, signal);
      paged.push(...pathsOf(page.entries));
      after = page.next ?? undefined;
    } while (after !== undefined);
    expect(paged).toEqual(all);
  });

  it('goes on where its time was up', async () => {
    const { repository, snapshotId } = await backedUp();
    const browser = opened.use(await browserOf(repository, { limits: { searchPageMs: 0 } }));
    const paged: string[] = [];
    let pageCount = 0;
    for (let after: string | null = ''; after !== null; pageCount++) {
      const page = await browser.search(snapshotId, { pattern: '*.pdf', limit: 10, ...(after === '' ? {} : { after }) }, signal);
      paged.push(...pathsOf(page.entries));
      after = page.next;
    }
    expect(paged).toEqual(['/data/reports/2024/feb.pdf', '/data/reports/2024/jan.pdf', '/data/reports/jan.pdf']);
    expect(pageCount).toBe(6);
  });
});

describe('a search over time', () => {
  it('tells the versions of each path', async () => {
    const repository = await createTestRepository();
    const version = (content: string, modifiedNs: bigint) => ({ type: 'file', bytes: Buffer.from(content), modifiedNs }) as const;
    const contents = [version('1', 1n), version('1', 1n), version('two', 2n), version('1', 1n), null];
    const ids: string[] = [];
    for (const [nth, content] of contents.entries()) {
      const folder = content === null ? {} : { 'a.txt': content };
      ids.push((await archiveTree(repository, { d: dir(folder), [`n${nth}`]: text('') })).snapshotId);
    }
    const browser = opened.use(await browserOf(repository));
    const found = await browser.searchAll([...ids, 'f'.repeat(64)], { pattern: 'a.txt', limit: 5 }, signal);
    expect(found).toMatchObject({ next: null, missingSnapshots: ['f'.repeat(64)] });
    expect(found.files).toMatchObject([
      {
        path: '/d/a.txt',
        versions: [
          { sizeBytes: 1, modifiedNs: 1n, firstSnapshot: ids[0], lastSnapshot: ids[3], snapshotCount: 3 },
          { sizeBytes: 3, modifiedNs: 2n, firstSnapshot: ids[2], lastSnapshot: ids[2], snapshotCount: 1 },
        ],
      },
    ]);
  });
});

describe('a comparison', () => {
  it('tells what was added, removed and changed, with sizes', async () => {
    const repository = await createTestRepository();
    const before = await archiveTree(repository, {
      same: dir({ x: text('x') }),
      d: dir({ changed: text('1'), gone: text('gone'), mode: { type: 'file', bytes: Buffer.from('m'), mode: 0o600 }, kind: text('file') }),
    });
    const after = await archiveTree(repository, {
      same: dir({ x: text('x') }),
      d: dir({ changed: text('22'), mode: { type: 'file', bytes: Buffer.from('m'), mode: 0o644 }, kind: dir({ new: text('new') }) }),
    });
    const browser = opened.use(await browserOf(repository));
    const { entries, totals, next } = await browser.diff(before.snapshotId, after.snapshotId, { limit: 100 }, signal);
    expect(entries.map(({ path, change }) => [path, change])).toEqual([
      ['/d/changed', 'modified'],
      ['/d/gone', 'removed'],
      ['/d/kind', 'type_changed'],
      ['/d/kind/new', 'added'],
      ['/d/mode', 'metadata'],
    ]);
    expect(next).toBeNull();
    expect(totals).toEqual({
      added: 1,
      removed: 1,
      modified: 1,
      metadata: 1,
      type_changed: 1,
      bytesBefore: 1 + 4 + 4 + 1,
      bytesAfter: 2 + 3 + 1,
    });
    const second = await browser.diff(before.snapshotId, after.snapshotId, { limit: 2, after: '/d/gone' }, signal);
    expect(pathsOf(second.entries)).toEqual(['/d/kind', '/d/kind/new']);
    expect(second).toMatchObject({ totals, next: '/d/kind/new' });
    expect((await browser.diff(before.snapshotId, before.snapshotId, { limit: 1 }, signal)).entries).toEqual([]);
    await expect(browser.diff(before.snapshotId, after.snapshotId, { limit: 1, path: '/none' }, signal)).rejects.toMatchObject({
      code: 'path_not_found',
    });
  });
});

describe('reading a file', () => {
  it.each([
    [0, Number.POSITIVE_INFINITY],
    [0, 1],
    [4_999_999, 10],
    [1_000_001, 2_000_003],
    [5_000_000, 1],
    [17, 0],
  ])('gives its bytes from %i, %d of them', async (offsetBytes, lengthBytes) => {
    const { browser, snapshotId } = await backedUp();
    const bytes = await bytesOf(browser.read(snapshotId, '/data/big.bin', { offsetBytes, lengthBytes }, signal));
    expect(bytes.equals(big.subarray(offsetBytes, Math.min(offsetBytes + lengthBytes, big.length)))).toBe(true);
  });

  it('refuses a range behind the end, and what is no file', async () => {
    const { browser, snapshotId } = await backedUp();
    const read = (path: string, offsetBytes: number) => bytesOf(browser.read(snapshotId, path, { offsetBytes, lengthBytes: 1 }, signal));
    await expect(read('/data/big.bin', big.length + 1)).rejects.toMatchObject({ code: 'request_invalid', context: { field: 'range' } });
    await expect(read('/data/big.bin', -1)).rejects.toMatchObject({ code: 'request_invalid', context: { field: 'range' } });
    await expect(read('/data', 0)).rejects.toMatchObject({ code: 'path_not_found' });
    await expect(read('/data/link', 0)).rejects.toMatchObject({ code: 'path_not_found' });
    expect(await read('/data/zero', 0)).toHaveLength(0);
  });

  it('holds cleanups off, and ends with its signal', async () => {
    const { browser, repository, snapshotId } = await backedUp();
    const ending = new AbortController();
    const range = { offsetBytes: 0, lengthBytes: big.length };
    const pieces = browser.read(snapshotId, '/data/big.bin', range, ending.signal)[Symbol.asyncIterator]();
    await pieces.next();
    await expect(prune({ repository, clock: impatientClock })).rejects.toMatchObject({ code: 'repository_locked' });
    ending.abort(new Error('the client has gone'));
    await expect(pieces.next()).rejects.toThrow('the client has gone');
    await browser[Symbol.asyncDispose]();
    await prune({ repository, clock: impatientClock });
  });
});

describe('a walk', () => {
  const walked = async (pieces: AsyncIterable<WalkedEntry>): Promise<string[]> => pathsOf(await Array.fromAsync(pieces));

  it('gives everything, each folder before what is in it', async () => {
    const { browser, snapshotId } = await backedUp();
    expect(await walked(browser.walk(snapshotId, {}, signal))).toEqual([
      '/data',
      '/data/a.txt',
      '/data/big.bin',
      '/data/empty',
      '/data/link',
      '/data/reports',
      '/data/reports/2024',
      '/data/reports/2024/feb.pdf',
      '/data/reports/2024/jan.pdf',
      '/data/reports/jan.pdf',
      '/data/zero',
      '/other',
      '/other/jan.PDF',
    ]);
  });

  it('gives what is selected once', async () => {
    const { browser, snapshotId } = await backedUp();
    const paths = ['/other', '/data/reports/2024/jan.pdf', '/data/reports/2024', '/data/a.txt'];
    expect(await walked(browser.walk(snapshotId, { paths }, signal))).toEqual([
      '/data/a.txt',
      '/data/reports/2024',
      '/data/reports/2024/feb.pdf',
      '/data/reports/2024/jan.pdf',
      '/other',
      '/other/jan.PDF',
    ]);
    await expect(walked(browser.walk(snapshotId, { paths: ['/none'] }, signal))).rejects.toMatchObject({ code: 'path_not_found' });
  });
});
