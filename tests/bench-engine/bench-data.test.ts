import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { compareTrees } from '../../scripts/bench-engine/compare-trees.ts';
import { openDataFolder } from '../../scripts/bench-engine/data-folder.ts';
import { changedFiles, fullScale, planFiles, type DataScale } from '../../scripts/bench-engine/data-plan.ts';
import { makeManyFiles } from '../../scripts/bench-engine/many-files.ts';
import { measure } from '../../scripts/bench/measured-run.ts';
import { makeContent, type ContentKind } from '../../scripts/bench-engine/text-maker.ts';
import { treeSizeBytes } from '../../scripts/bench/tree-size.ts';

const tiny: DataScale = {
  name: 'tiny',
  smallFileCount: 300,
  sql: { fileCount: 1, fileSizeBytes: 300_000 },
  noise: { fileCount: 1, fileSizeBytes: 200_000 },
};
const quiet = (): void => {};
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const contentOf = (kind: ContentKind, seed: string, sizeBytes: number): Buffer =>
  Buffer.concat([...makeContent(kind, seed, sizeBytes)].map((piece) => Buffer.from(piece)));

describe('content', () => {
  test.each(['source', 'mail', 'sql', 'noise'] as const)('%s is the same for a seed, another for another, and has its size', (kind) => {
    const sizeBytes = 1_500_000;
    const content = contentOf(kind, 'a', sizeBytes);
    expect(content).toHaveLength(sizeBytes);
    expect(contentOf(kind, 'a', sizeBytes).equals(content)).toBe(true);
    expect(contentOf(kind, 'b', sizeBytes).equals(content)).toBe(false);
  });

  test('is what it was in every run before', () => {
    const hashes = (['source', 'mail', 'sql', 'noise'] as const).map((kind) =>
      createHash('sha256')
        .update(contentOf(kind, 'fixed', 10_000))
        .digest('hex')
        .slice(0, 8),
    );
    expect(hashes).toMatchInlineSnapshot(`
      [
        "9a9b014c",
        "dc6c228c",
        "eb73b960",
        "1af4af9f",
      ]
    `);
  });

  test('shrinks as its kind does', () => {
    const share = (kind: ContentKind): number => zstdCompressSync(contentOf(kind, 'a', 1_000_000)).length / 1_000_000;
    expect(share('sql')).toBeGreaterThan(0.2);
    expect(share('sql')).toBeLessThan(0.5);
    expect(share('source')).toBeLessThan(0.5);
    expect(share('noise')).toBeGreaterThan(0.99);
  });
});

describe('the plan', () => {
  const files = planFiles(fullScale);

  test('has more than 50,000 small files and 1.5 GB, under names of their own', () => {
    const small = files.slice(0, fullScale.smallFileCount);
    const sum = (of: typeof files): number => of.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);
    expect(small.length).toBeGreaterThan(50_000);
    expect(sum(small) / 1e6).toBeCloseTo(530, -1);
    expect(sum(files)).toBeGreaterThan(1.5e9);
    expect(new Set(files.map(({ path }) => path)).size).toBe(files.length);
    expect(Math.max(...small.map(({ sizeBytes }) => sizeBytes))).toBeLessThanOrEqual(1024 * 1024);
  });

  test('changes one small file in a hundred', () => {
    expect(changedFiles(fullScale)).toHaveLength(fullScale.smallFileCount / 100);
  });
});

describe('the data folder', () => {
  test('is the same wherever it is made, times too', () => {
    const [a, b] = ['a', 'b'].map((name) => openDataFolder(join(folder, name), tiny, quiet));
    expect(compareTrees(a?.tree ?? '', b?.tree ?? '')).toEqual([]);
    expect(treeSizeBytes(a?.tree ?? '')).toBe(a?.sizeBytes);
  });

  test('is kept for the next run, with every change undone', () => {
    const data = openDataFolder(join(folder, 'kept'), tiny, quiet);
    execFileSync('cp', ['-a', data.tree, join(folder, 'copy')]);
    const [dump] = readdirSync(join(data.tree, 'dump'));
    const { ctimeMs } = statSync(join(data.tree, 'dump', dump ?? ''));
    data.setVariant(1);
    expect(compareTrees(join(folder, 'copy'), data.tree)).toHaveLength(2 * changedFiles(tiny).length);
    const again = openDataFolder(join(folder, 'kept'), tiny, quiet);
    expect(compareTrees(join(folder, 'copy'), again.tree)).toEqual([]);
    expect(statSync(join(data.tree, 'dump', dump ?? '')).ctimeMs).toBe(ctimeMs);
  });

  test('is made anew for another scale', () => {
    openDataFolder(join(folder, 'data'), tiny, quiet);
    const { tree } = openDataFolder(join(folder, 'data'), { ...tiny, smallFileCount: 100 }, quiet);
    expect(readdirSync(tree, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())).toHaveLength(102);
  });
});

test('many files are as many as were asked for, mostly empty', () => {
  const tree = makeManyFiles(join(folder, 'many'), 1_200);
  const sizes = readdirSync(tree, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => statSync(join(entry.parentPath, entry.name)).size);
  expect(sizes).toHaveLength(1_200);
  expect(sizes.filter((size) => size === 0).length).toBeGreaterThan(600);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(200);
});

describe('the comparison of trees sees', () => {
  const time = new Date('2026-01-01T00:00:00Z');
  const cases: [string, (tree: string) => void][] = [
    ['another byte', (tree) => writeFileSync(join(tree, 'sub/a'), 'contenu')],
    ['another size', (tree) => appendFileSync(join(tree, 'sub/a'), 'x')],
    ['another mode', (tree) => chmodSync(join(tree, 'sub/a'), 0o600)],
    ['another time', (tree) => utimesSync(join(tree, 'sub/a'), time, new Date(0))],
    ['a missing file', (tree) => unlinkSync(join(tree, 'sub/a'))],
    ['one too many', (tree) => writeFileSync(join(tree, 'sub/b'), '')],
    [
      'a link that leads elsewhere',
      (tree) => {
        unlinkSync(join(tree, 'link'));
        symlinkSync('b', join(tree, 'link'));
      },
    ],
  ];

  test.each(cases)('%s', (_, change) => {
    for (const name of ['expected', 'actual']) {
      mkdirSync(join(folder, name, 'sub'), { recursive: true });
      writeFileSync(join(folder, name, 'sub', 'a'), 'content');
      symlinkSync('a', join(folder, name, 'link'));
    }
    const [expected, actual] = [join(folder, 'expected'), join(folder, 'actual')];
    const settle = (changed: string | null): void => {
      for (const tree of [expected, actual]) for (const path of ['sub/a', 'sub', '.']) if (path !== changed) touch(join(tree, path));
    };
    settle(null);
    expect(compareTrees(expected, actual).filter((difference) => !difference.includes('/link '))).toEqual([]);
    change(actual);
    settle('sub/a');
    expect(compareTrees(expected, actual).length).toBeGreaterThan(0);
  });

  function touch(path: string): void {
    utimesSync(path, time, time);
  }
});

describe('a measured run', () => {
  const options = () => ({ folder, signal: new AbortController().signal });
  const node = (script: string) => ({ program: process.execPath, args: ['-e', script] });

  test('counts time, processor and memory of a program', async () => {
    const script = 'const b = Buffer.alloc(300e6, 1); const end = Date.now() + 300; while (Date.now() < end); process.exitCode = b[9] - 1';
    const cost = await measure(node(script), options());
    expect(cost.wallMs).toBeGreaterThan(300);
    expect(cost.userMs + cost.systemMs).toBeGreaterThan(100);
    expect(cost.userMs + cost.systemMs).toBeLessThan(cost.wallMs * 8);
    expect(cost.peakRssBytes).toBeGreaterThan(300e6);
    expect(cost.peakRssBytes).toBeLessThan(500e6);
    expect(cost.floorRssBytes).toBeLessThan(150e6);
  });

  test('counts the processes that the program waits for', async () => {
    const script = `require('child_process').execFileSync(process.execPath, ['-e', 'Buffer.alloc(400e6, 1)'])`;
    expect((await measure(node(script), options())).peakRssBytes).toBeGreaterThan(400e6);
  });

  test('fails with what the program said', async () => {
    await expect(measure(node('console.error("no such luck"); process.exit(3)'), options())).rejects.toThrow(/code 3.*\n.*no such luck/s);
    await expect(measure({ program: '/nowhere/at-all', args: [] }, options())).rejects.toThrow('could not be measured');
  });

  test('ends when it is told to', async () => {
    const ending = AbortSignal.timeout(300);
    await expect(measure(node('setTimeout(() => {}, 30e3)'), { folder, signal: ending })).rejects.toThrow(/timeout/i);
    expect(readFileSync(join(folder, 'result.json'), 'utf8')).toContain('SIGTERM');
  });
});
