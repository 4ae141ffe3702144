import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Repository } from '../repository.ts';
import { forgeSnapshot, type ForgedNode } from '../testing/forged-snapshot.ts';
import { createTestRepository, impatientClock } from '../testing/test-repository.ts';
import { openSnapshotBrowser, type BrowserLimits, type SnapshotBrowser } from './snapshot-browser.ts';
import type { FoundFile } from './snapshot-search.ts';
import { countOf, joinRuns } from './snapshot-runs.ts';

const { signal } = new AbortController();
const opened = new AsyncDisposableStack();
afterAll(() => opened.disposeAsync());

function browserOf(repository: Repository, limits: Partial<BrowserLimits> = {}): SnapshotBrowser {
  return opened.use(openSnapshotBrowser({ repository, clock: impatientClock, limits }));
}

async function searchAll(browser: SnapshotBrowser, ids: readonly string[], pattern: string, limit: number): Promise<FoundFile[]> {
  const files: FoundFile[] = [];
  for (let after: string | null | undefined; after !== null;) {
    const page = await browser.searchAll(ids, { pattern, limit, ...(after === undefined ? {} : { after }) }, signal);
    expect(page.files.length).toBeLessThanOrEqual(limit);
    files.push(...page.files);
    after = page.next;
  }
  return files;
}

const file = (name: string, below = ''): ForgedNode => ({ name, below });

describe('a folder of more entries than are in hand at once', () => {
  const count = 10_000;
  const nameOf = (nth: number): string => `f${String(nth).padStart(5, '0')}`;
  let repository: Repository;
  let ids: string[] = [];

  beforeAll(async () => {
    repository = await createTestRepository();
    const all = Array.from({ length: count }, (_, nth) => nameOf(nth));
    const whole = all.map((name) => file(name));
    // The second has every third of them, and one that is another.
    const third = whole.filter((_, nth) => nth % 3 === 0).map((node) => (node.name === nameOf(9) ? file(node.name, 'changed') : node));
    ids = [await forgeSnapshot(repository, [{ name: 'd', below: whole }]), await forgeSnapshot(repository, [{ name: 'd', below: third }])];
  });

  it('is searched whole, page by page', async () => {
    const files = await searchAll(browserOf(repository), ids, 'f*', 3000);
    expect(files.map(({ path }) => path)).toEqual(Array.from({ length: count }, (_, nth) => `/d/${nameOf(nth)}`));
    expect(files[8]?.versions).toMatchObject([{ snapshotCount: 1, firstSnapshot: ids[0], lastSnapshot: ids[0] }]);
    expect(files[9]?.versions).toMatchObject([
      { sizeBytes: 0, snapshotCount: 1, lastSnapshot: ids[0] },
      { sizeBytes: 7, snapshotCount: 1, firstSnapshot: ids[1] },
    ]);
    expect(files[12]?.versions).toMatchObject([{ snapshotCount: 2, firstSnapshot: ids[0], lastSnapshot: ids[1] }]);
  });

  it('is searched the same with no memory to hold anything, and no time', async () => {
    const limits = { maxTreeBytes: 0, maxWindowBytes: 0, maxNameBytes: 0, searchPageMs: 0 };
    const files = await searchAll(browserOf(repository, limits), ids, '*[05]0', 5000);
    expect(files).toEqual(await searchAll(browserOf(repository), ids, '*[05]0', 5000));
    expect(files).toHaveLength(count / 50);
  });
});

/** Trees of a few names, so that the same ones come again in several snapshots. */
const { tree } = fc.letrec<{ tree: ForgedNode[]; node: ForgedNode }>((tie) => ({
  tree: fc.uniqueArray(tie('node'), { maxLength: 4, selector: ({ name }) => name }),
  node: fc.record({
    name: fc.constantFrom('a', 'b', 'a.b', 'B', 'ä', 'x y'),
    below: fc.oneof({ depthSize: 'small', withCrossShrink: true }, fc.constantFrom('', '1', '22'), tie('tree')),
  }),
}));

interface Expected {
  readonly path: string;
  readonly versions: { readonly type: string; readonly sizeBytes: number; readonly snapshots: number[] }[];
}

/** Every path of every snapshot, looked at one by one. */
function lookedAtOneByOne(trees: readonly (readonly ForgedNode[])[], matches: (path: string) => boolean): Expected[] {
  const paths = new Map<string, Expected>();
  const visit = (snapshot: number, folder: string, nodes: readonly ForgedNode[]): void => {
    for (const { name, below } of nodes) {
      const path = `${folder}/${name}`;
      const [type, sizeBytes] = typeof below === 'string' ? ['file', below.length] : ['dir', 0];
      if (matches(path)) {
        const found = paths.get(path) ?? { path, versions: [] };
        paths.set(path, found);
        const version = found.versions.find((each) => each.type === type && each.sizeBytes === sizeBytes);
        if (version === undefined) found.versions.push({ type, sizeBytes, snapshots: [snapshot] });
        else version.snapshots.push(snapshot);
      }
      if (typeof below !== 'string') visit(snapshot, path, below);
    }
  };
  for (const [snapshot, nodes] of trees.entries()) visit(snapshot, '', nodes);
  const keyOf = (path: string): Buffer => Buffer.from(path.replaceAll('/', '\0'));
  return [...paths.values()].toSorted((a, b) => Buffer.compare(keyOf(a.path), keyOf(b.path)));
}

describe('a search over time', () => {
  it.each([
    ['**', () => true],
    ['a*', (path: string) => /\/a[^/]*$/.test(path)],
    ['a/b', (path: string) => path.endsWith('/a/b')],
    ['/*/b', (path: string) => /^\/[^/]+\/b$/.test(path)],
  ] as const)('for %s tells what looking at each path of each snapshot tells', async (pattern, matches) => {
    const repository = await createTestRepository();
    await fc.assert(
      fc.asyncProperty(fc.array(tree, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 4 }), async (trees, limit) => {
        const ids: string[] = [];
        for (const nodes of trees) ids.push(await forgeSnapshot(repository, nodes));
        const found = await searchAll(browserOf(repository), ids, pattern, limit);
        const told = found.map(({ path, versions }) => ({
          path,
          versions: versions.map(({ type, sizeBytes, snapshotCount, firstSnapshot, lastSnapshot }) => [
            type,
            sizeBytes,
            snapshotCount,
            firstSnapshot,
            lastSnapshot,
          ]),
        }));
        const expected = lookedAtOneByOne(trees, matches).map(({ path, versions }) => ({
          path,
          versions: versions.map(({ type, sizeBytes, snapshots }) => [
            type,
            sizeBytes,
            snapshots.length,
            ids[snapshots[0] ?? 0],
            ids[snapshots.at(-1) ?? 0],
          ]),
        }));
        expect(told).toEqual(expected);
      }),
      { numRuns: 25 },
    );
  });
});

describe('runs of snapshots', () => {
  it('hold the same numbers, joined and in order', () => {
    const run = fc.tuple(fc.nat(30), fc.nat(5)).map(([first, length]) => [first, first + length]);
    fc.assert(
      fc.property(fc.array(run, { maxLength: 8 }), (runs) => {
        const numbers = new Set(runs.flatMap(([first = 0, last = 0]) => Array.from({ length: last - first + 1 }, (_, nth) => first + nth)));
        const joined = joinRuns(runs.flat());
        expect(countOf(joined)).toBe(numbers.size);
        for (let at = 0; at < joined.length; at += 2) {
          for (let number = joined[at] ?? 0; number <= (joined[at + 1] ?? 0); number++) expect(numbers.has(number)).toBe(true);
          if (at > 0) expect(joined[at]).toBeGreaterThan((joined[at - 1] ?? 0) + 1);
        }
      }),
    );
  });
});
