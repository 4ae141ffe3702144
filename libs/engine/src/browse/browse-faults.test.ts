import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { GetOptions, Storage } from '@holdfast/storage/storage';
import { afterEach, describe, expect, it } from 'vitest';
import { forget } from '../forget.ts';
import { prune } from '../pruner.ts';
import type { Repository } from '../repository.ts';
import { forgeSnapshot, type ForgedNode } from '../testing/forged-snapshot.ts';
import { archiveTree, createTestRepository, impatientClock, noise, openTestRepository, text } from '../testing/test-repository.ts';
import { openSnapshotBrowser, type BrowserOptions, type SnapshotBrowser } from './snapshot-browser.ts';

const { signal } = new AbortController();
let opened = new AsyncDisposableStack();
afterEach(async () => {
  const ended = opened;
  opened = new AsyncDisposableStack();
  await ended.disposeAsync();
});

function browserOf(repository: Repository, options: Partial<BrowserOptions> = {}): SnapshotBrowser {
  return opened.use(openSnapshotBrowser({ repository, clock: impatientClock, ...options }));
}

const all = { offsetBytes: 0, lengthBytes: Number.POSITIVE_INFINITY };
const big = noise(30_000_000, 5);

/** The storage, with what `onGet` does before each read of a pack. */
function watched(storage: Storage, onGet: (name: string, options: GetOptions) => Promise<void>): Storage {
  return {
    location: storage.location,
    put: (...args) => storage.put(...args),
    get: async (name, options = {}) => {
      if (name.startsWith('data/')) await onGet(name, options);
      return await storage.get(name, options);
    },
    stat: (...args) => storage.stat(...args),
    list: (...args) => storage.list(...args),
    delete: (...args) => storage.delete(...args),
    close: () => storage.close(),
  };
}

describe('a snapshot made by somebody else', () => {
  const nodes: ForgedNode[] = [
    { name: 'b', below: 'the second' },
    { name: 'a', below: 'the first' },
    { name: 'a', below: 'again' },
    { name: '..', below: [{ name: 'passwd', below: 'root' }] },
    { name: '.', below: 'dot' },
    { name: '', below: 'none' },
    { name: '../../etc/passwd', below: 'root' },
    { name: '/etc', below: [{ name: 'passwd', below: 'root' }] },
    { name: 'c\0d', below: 'nul' },
    { name: '(..)', below: 'plain' },
    { name: 'folder', below: [{ name: 'x', below: 'x' }] },
  ];

  async function forged(): Promise<{ browser: SnapshotBrowser; id: string }> {
    const repository = await createTestRepository();
    return { browser: browserOf(repository), id: await forgeSnapshot(repository, nodes) };
  }

  it('is shown with its unsafe names marked, none of which leads anywhere', async () => {
    const { browser, id } = await forged();
    const { entries, totalCount } = await browser.folder(id, '/', { limit: 100 }, signal);
    expect(totalCount).toBe(nodes.length);
    expect(entries.filter(({ isUnsafe }) => !isUnsafe).map(({ path }) => path)).toEqual(['/(..)', '/a', '/b', '/folder']);
    const unsafe = entries.filter(({ isUnsafe }) => isUnsafe);
    expect(unsafe).toHaveLength(7);
    for (const { name, path } of unsafe) {
      expect(name).not.toMatch(/^$|^\.\.?$|\/|\0/);
      await expect(browser.entry(id, path, signal)).rejects.toMatchObject({ code: 'path_not_found' });
      await expect(Array.fromAsync(browser.read(id, path, all, signal))).rejects.toMatchObject({ code: 'path_not_found' });
      await expect(Array.fromAsync(browser.walk(id, { paths: [path] }, signal))).rejects.toMatchObject({ code: 'path_not_found' });
    }
    expect((await browser.entry(id, '/(..)', signal)).sizeBytes).toBe(5);
    expect(Buffer.concat(await Array.fromAsync(browser.read(id, '/a', all, signal))).toString()).toBe('the first');
  });

  it('is paged without loss, and gone through without what is below an unsafe folder', async () => {
    const { browser, id } = await forged();
    const names: string[] = [];
    for (let after: string | null | undefined; after !== null;) {
      const page = await browser.folder(id, '/', { limit: 1, ...(after === undefined ? {} : { after }) }, signal);
      names.push(...page.entries.map(({ name }) => name));
      after = page.next;
    }
    expect(new Set(names).size).toBe(nodes.length);
    const walked = await Array.fromAsync(browser.walk(id, {}, signal));
    expect(walked).toHaveLength(nodes.length + 1);
    expect(walked.filter(({ path }) => path.endsWith('passwd') && path.split('/').length > 2)).toEqual([]);
    const found = await browser.search(id, { pattern: '**', limit: 100 }, signal);
    expect(found.entries.map(({ path }) => path)).toEqual(walked.map(({ path }) => path));
    expect(found.entries.filter(({ isUnsafe }) => isUnsafe)).toHaveLength(7);
    const compared = await browser.diff(id, id, { limit: 10 }, signal);
    expect(compared.entries).toEqual([]);
  });

  it.each(['in order', 'in no order'])('is shown with nodes of a type that nobody knows, %s, which lead nowhere', async (order) => {
    const known: ForgedNode[] = [
      { name: 'a', below: 'the first' },
      { name: 'z', below: [{ name: 'x', below: 'x' }] },
    ];
    const unknown: ForgedNode[] = [
      { name: 'b', below: 'of a file', type: 'whiteout' },
      { name: 'c', below: [{ name: 'secret', below: 'x' }], type: 'dir\n' },
      { name: 'd', below: 'long', type: 'T'.repeat(10_000) },
    ];
    const [first, last] = known;
    const repository = await createTestRepository();
    const mixed = order === 'in order' ? [first, ...unknown, last] : [last, ...unknown, first];
    const id = await forgeSnapshot(repository, mixed as ForgedNode[]);
    const browser = browserOf(repository);
    const { entries } = await browser.folder(id, '/', { limit: 100 }, signal);
    expect(entries.map(({ name, type, isUnsafe, unknownType }) => [name, type, isUnsafe, unknownType])).toEqual([
      ['a', 'file', false, undefined],
      ['b', 'irregular', true, 'whiteout'],
      ['c', 'irregular', true, 'dir\n'],
      ['d', 'irregular', true, 'T'.repeat(64)],
      ['z', 'dir', false, undefined],
    ]);
    for (const path of ['/b', '/c', '/c/secret', '/d']) {
      await expect(browser.entry(id, path, signal)).rejects.toMatchObject({ code: 'path_not_found' });
      await expect(Array.fromAsync(browser.read(id, path, all, signal))).rejects.toMatchObject({ code: 'path_not_found' });
    }
    const paths = ['/a', '/b', '/c', '/d', '/z', '/z/x'];
    expect((await Array.fromAsync(browser.walk(id, {}, signal))).map(({ path, isUnsafe }) => [path, isUnsafe])).toEqual(
      paths.map((path) => [path, ['/b', '/c', '/d'].includes(path)]),
    );
    expect((await browser.search(id, { pattern: '**', limit: 100 }, signal)).entries.map(({ path }) => path)).toEqual(paths);
    const before = await forgeSnapshot(repository, known);
    const { entries: changes } = await browser.diff(before, id, { limit: 10 }, signal);
    expect(changes.map(({ path, change, isUnsafe }) => [path, change, isUnsafe])).toEqual(
      ['/b', '/c', '/d'].map((path) => [path, 'added', true]),
    );
  });

  it('is not read as another size than it says', async () => {
    const repository = await createTestRepository();
    const id = await forgeSnapshot(repository, [{ name: 'f', below: 'four', sizeBytes: 400 }]);
    await expect(Array.fromAsync(browserOf(repository).read(id, '/f', all, signal))).rejects.toThrow(
      'the content of a file is 4 bytes long',
    );
  });
});

describe('damage', () => {
  it('of a tree fails what is in it, and a search passes over it', async () => {
    const storage = openMemoryStorage();
    const repository = await createTestRepository(storage);
    const whole = await archiveTree(repository, { here: { type: 'dir', entries: { 'x.txt': text('x') } } });
    const packs = new Set((await Array.fromAsync(storage.list('data/'))).map(({ name }) => name));
    const lost = await archiveTree(repository, { gone: { type: 'dir', entries: { 'y.txt': text('y') } } });
    for await (const { name } of storage.list('data/')) if (!packs.has(name)) await storage.delete(name);
    const browser = browserOf(repository);
    const { snapshotId } = lost;
    await expect(browser.folder(snapshotId, '/', { limit: 1 }, signal)).rejects.toMatchObject({ code: 'storage_object_missing' });
    await expect(browser.diff(whole.snapshotId, snapshotId, { limit: 1 }, signal)).rejects.toMatchObject({
      code: 'storage_object_missing',
    });
    const found = await browser.searchAll([whole.snapshotId, snapshotId], { pattern: '*.txt', limit: 10 }, signal);
    expect(found.files.map(({ path }) => path)).toEqual(['/here/x.txt']);
    expect(found.unreadable).toMatchObject([{ path: '/' }]);
  });

  it('of a snapshot is told, and the others are searched', async () => {
    const storage = openMemoryStorage();
    const repository = await createTestRepository(storage);
    const whole = await archiveTree(repository, { 'x.txt': text('x') });
    const { snapshotId } = await archiveTree(repository, { 'x.txt': text('other') });
    await storage.delete(`snapshots/${snapshotId}`);
    await storage.put(`snapshots/${snapshotId}`, Buffer.from('damaged'));
    const found = await browserOf(repository).searchAll([whole.snapshotId, snapshotId], { pattern: 'x.txt', limit: 10 }, signal);
    expect(found.files).toMatchObject([{ path: '/x.txt', versions: [{ snapshotCount: 1, firstSnapshot: whole.snapshotId }] }]);
    expect(found).toMatchObject({ missingSnapshots: [], unreadable: [{ path: '/' }] });
  });

  it('of a file ends its reading before a wrong byte is given', async () => {
    const storage = openMemoryStorage();
    const repository = await createTestRepository(storage);
    const { snapshotId } = await archiveTree(repository, { big: { type: 'file', bytes: big } });
    const packs = (await Array.fromAsync(storage.list('data/'))).toSorted((a, b) => b.sizeBytes - a.sizeBytes);
    const [largest] = packs;
    if (largest === undefined) throw new Error('there is no pack');
    const bytes = Uint8Array.from(await storage.get(largest.name));
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await storage.delete(largest.name);
    await storage.put(largest.name, bytes);
    let read = 0;
    const reading = (async () => {
      for await (const piece of browserOf(repository).read(snapshotId, '/big', all, signal)) {
        expect(Buffer.compare(piece, big.subarray(read, read + piece.length))).toBe(0);
        read += piece.length;
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: 'repository_damaged' });
    expect(read).toBeLessThan(big.length);
  });
});

describe('a reader', () => {
  it.each(['aborts', 'goes away'])('that %s ends the fetches, and the lock goes with the browser', async (way) => {
    const storage = openMemoryStorage();
    const { snapshotId } = await archiveTree(await createTestRepository(storage), { big: { type: 'file', bytes: big } });
    const ending = new AbortController();
    let [fetched, aborted] = [0, 0];
    const { promise: hangs, resolve: onHang } = Promise.withResolvers<void>();
    const slow = watched(storage, async (_name, options) => {
      // The first ones come, and the others never.
      if (options.into === undefined || fetched++ < 2) return;
      options.signal?.throwIfAborted();
      await new Promise((_, reject) => {
        onHang();
        options.signal?.addEventListener('abort', () => {
          aborted++;
          reject(new Error('the fetch was given up'));
        });
      });
    });
    const repository = await openTestRepository(slow);
    const browser = openSnapshotBrowser({ repository, clock: impatientClock });
    const pieces = browser.read(snapshotId, '/big', all, ending.signal)[Symbol.asyncIterator]();
    expect((await pieces.next()).done).toBe(false);
    await hangs;
    if (way === 'aborts') {
      ending.abort(new HoldfastError('run_cancelled', 'the client has gone'));
      await expect(pieces.next()).rejects.toThrow('the client has gone');
    } else {
      await pieces.return?.();
    }
    expect(aborted).toBeGreaterThan(0);
    expect(await Array.fromAsync(storage.list('locks/'))).toHaveLength(1);
    await browser[Symbol.asyncDispose]();
    expect(await Array.fromAsync(storage.list('locks/'))).toEqual([]);
  });

  it('finds a file whose packs a cleanup has moved before', async () => {
    const repository = await createTestRepository();
    const first = await archiveTree(repository, { big: { type: 'file', bytes: big }, gone: { type: 'file', bytes: noise(9_000_000, 9) } });
    const second = await archiveTree(repository, { big: { type: 'file', bytes: big } });
    const browser = browserOf(repository);
    await browser.entry(second.snapshotId, '/big', signal);
    await forget({ repository, snapshotIds: [first.snapshotId], clock: impatientClock });
    const { packsRepacked } = await prune({ repository, clock: impatientClock, maxUnusedPercent: 0 });
    expect(packsRepacked).toBeGreaterThan(0);
    const bytes = Buffer.concat(await Array.fromAsync(browser.read(second.snapshotId, '/big', all, signal)));
    expect(bytes.equals(big)).toBe(true);
  });

  it('waits for nobody, and is told who holds the repository', async () => {
    const repository = await createTestRepository();
    const { snapshotId } = await archiveTree(repository, { f: text('f') });
    const browser = browserOf(repository);
    const { acquireLock } = await import('../lock.ts');
    await using _ = await acquireLock(repository, { exclusive: true, clock: impatientClock });
    await expect(Array.fromAsync(browser.read(snapshotId, '/f', all, signal))).rejects.toMatchObject({ code: 'repository_locked' });
    expect((await browser.folder(snapshotId, '/', { limit: 1 }, signal)).totalCount).toBe(1);
  });
});

describe('many calls at once', () => {
  it('fetch a window of trees once, and one that is given up does not end the others', async () => {
    const storage = openMemoryStorage();
    const entries = Object.fromEntries(
      Array.from({ length: 50 }, (_, nth) => [`d${nth}`, { type: 'dir', entries: { f: text(`${nth}`) } } as const]),
    );
    const { snapshotId } = await archiveTree(await createTestRepository(storage), entries);
    const fetches: string[] = [];
    const { promise: isOpen, resolve: open } = Promise.withResolvers<void>();
    const repository = await openTestRepository(
      watched(storage, async (name, { range }) => {
        fetches.push(`${name} ${range?.offsetBytes}`);
        await isOpen;
      }),
    );
    const browser = browserOf(repository);
    const givenUp = new AbortController();
    const first = browser.folder(snapshotId, '/d0', { limit: 1 }, givenUp.signal);
    const others = Array.from({ length: 50 }, (_, nth) => browser.folder(snapshotId, `/d${nth}`, { limit: 1 }, signal));
    givenUp.abort(new Error('given up'));
    await expect(first).rejects.toThrow('given up');
    open();
    for (const page of await Promise.all(others)) expect(page.totalCount).toBe(1);
    await browser.search(snapshotId, { pattern: 'f', limit: 100 }, signal);
    expect(new Set(fetches).size).toBe(fetches.length);
    expect(fetches.length).toBeLessThanOrEqual(2);
  });
});
