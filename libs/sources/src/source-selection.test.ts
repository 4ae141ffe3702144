import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, realpath, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openFileSystemSource, type FileSystemSourceOptions } from './file-system-source.ts';
import { walk } from './testing/source-contract.ts';
import { buildTree, removeTree, type TreeEntry } from './testing/tree-builder.ts';

const run = promisify(execFile);
const signature = 'Signature: 8a477f597d28d172789f06886806bc55';
const file = (path: string, content = path): TreeEntry => ({ type: 'file', path, content: Buffer.from(content) });
const tree: readonly TreeEntry[] = [
  file('a.txt'),
  file('a.log'),
  { type: 'dir', path: 'docs' },
  file('docs/b.txt'),
  { type: 'dir', path: 'docs/old' },
  file('docs/old/c.txt'),
  file('docs/old/c.log'),
  { type: 'dir', path: 'cache' },
  file('cache/CACHEDIR.TAG', `${signature}\n# made by hand`),
  file('cache/big', 'x'.repeat(5000)),
  { type: 'dir', path: 'cache/sub' },
  { type: 'dir', path: 'false cache' },
  file('false cache/CACHEDIR.TAG', 'Signature: other'),
  file('false cache/file'),
  { type: 'dir', path: 'private' },
  file('private/.nobackup', ''),
  file('private/secret'),
];

/** The paths that the source shows below its folder; what an estimate counts has to agree. */
async function shown(base: string, options: Partial<FileSystemSourceOptions>): Promise<string[]> {
  const source = await openFileSystemSource({ paths: [join(base, 'tree')], roots: [base], ...options });
  const nodes = await walk(source);
  const files = [...nodes.values()].filter(({ type }) => type === 'file');
  const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  expect(await source.estimate?.()).toEqual({ files: files.length, bytes });
  const prefix = `${join(base, 'tree')}/`;
  return [...nodes.keys()].filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length));
}

async function scratch(): Promise<string> {
  const base = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-selection-')));
  onTestFinished(() => removeTree(base));
  await buildTree(join(base, 'tree'), tree);
  return base;
}

const all = tree.map(({ path }) => path).toSorted();
const without = (...left: string[]): string[] => all.filter((path) => !left.includes(path));

describe('what a source takes', () => {
  it('is everything, unless it is told', async () => {
    expect((await shown(await scratch(), {})).toSorted()).toEqual(all);
  });

  it('leaves out what exclude files name', async () => {
    const base = await scratch();
    await writeFile(join(base, 'patterns'), `# comment\n\n  *.log  \r\n${base}/tree/docs/old\n!a.log\n`);
    const paths = await shown(base, { excludeFiles: [join(base, 'patterns')] });
    expect(paths.toSorted()).toEqual(without('docs/old', 'docs/old/c.txt', 'docs/old/c.log'));
  });

  it('refuses exclude files that are missing, outside, too much, or no patterns', async () => {
    const base = await scratch();
    const open = (path: string) => openFileSystemSource({ paths: [join(base, 'tree')], roots: [base], excludeFiles: [path] });
    await writeFile(join(base, 'bad'), 'fine\n[\n');
    await expect(open(join(base, 'bad'))).rejects.toThrow(/line 2/);
    await symlink('/etc/passwd', join(base, 'outside'));
    for (const [path, code] of [
      [join(base, 'missing'), 'path_not_found'],
      [join(base, 'outside'), 'path_outside_roots'],
      [base, 'request_invalid'],
      ['/etc/passwd', 'path_outside_roots'],
    ] as const) {
      await expect(open(path)).rejects.toSatisfy((error) => isHoldfastError(error, code));
    }
  });

  it('keeps of tagged folders the tag alone', async () => {
    const base = await scratch();
    expect((await shown(base, { excludeCaches: true })).toSorted()).toEqual(without('cache/big', 'cache/sub'));
    expect((await shown(base, { excludeIfPresent: [{ name: '.nobackup' }] })).toSorted()).toEqual(without('private/secret'));
    const other = [{ name: 'CACHEDIR.TAG', header: 'Signature: other' }];
    expect((await shown(base, { excludeIfPresent: other })).toSorted()).toEqual(without('false cache/file'));
    await run('mkfifo', [join(base, 'tree', 'docs', 'CACHEDIR.TAG')]);
    expect(await shown(base, { excludeCaches: true })).toContain('docs/b.txt');
  });

  it('leaves out files that are too large', async () => {
    expect((await shown(await scratch(), { excludeLargerThanBytes: 4999 })).toSorted()).toEqual(without('cache/big'));
    expect((await shown(await scratch(), { excludeLargerThanBytes: 5000 })).toSorted()).toEqual(all);
  });

  it('takes what is included, and the folders that may lead there', async () => {
    const base = await scratch();
    expect(await shown(base, { includes: [`${base}/tree/docs/*.txt`] })).toEqual(['docs', 'docs/b.txt']);
    expect(await shown(base, { includes: [`${base}/tree/docs/old`, '!*.log'] })).toEqual(['docs', 'docs/old', 'docs/old/c.txt']);
    const relative = await shown(base, { includes: ['*.txt'], excludes: ['old'] });
    expect(relative.filter((path) => path.includes('.'))).toEqual(['a.txt', 'docs/b.txt']);
    expect(await shown(base, { includes: [`${base}/tree/private`], excludeIfPresent: [{ name: '.nobackup' }] })).toEqual([
      'private',
      'private/.nobackup',
    ]);
  });

  it('stays on one file system, and keeps the places where others are mounted', async ({ skip }) => {
    const base = await scratch();
    const mounted = join(base, 'tree', 'mounted');
    await mkdir(mounted);
    const isMounted = await run('mount', ['-t', 'tmpfs', 'tmpfs', mounted]).then(
      () => true,
      () => false,
    );
    if (!isMounted) skip('may not mount');
    onTestFinished(async () => void (await run('umount', [mounted])));
    await writeFile(join(mounted, 'file'), 'x');
    expect(await shown(base, {})).toContain('mounted/file');
    const paths = await shown(base, { oneFileSystem: true });
    expect(paths).toContain('mounted');
    expect(paths).not.toContain('mounted/file');
    const source = await openFileSystemSource({ paths: [mounted], roots: [base], oneFileSystem: true });
    expect([...(await walk(source)).keys()]).toContain(join(mounted, 'file'));
  });
});
