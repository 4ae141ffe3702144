import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { ApplicationSource } from '@holdfast/sources/application-data/application-source';
import type { Part } from '@holdfast/sources/application-data/part';
import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { MadeUpSource } from '@holdfast/sources/made-up-source';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { archive, type ArchiveOptions, type ArchiveResult } from './archiver.ts';
import { createTestRepository, impatientClock, noise, restoreTree } from './testing/test-repository.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-application-'));
  await mkdir(join(folder, 'files/inner'), { recursive: true });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

interface TestPart {
  readonly files: Readonly<Record<string, () => AsyncGenerator<Uint8Array>>>;
}

/** A part whose files notes when they are opened. */
const partOf = (name: string, { files }: TestPart, onOpen: (path: string) => void): Part => ({
  kind: 'test',
  name,
  source: new MadeUpSource({
    list: async () => ({
      timeMs: 0,
      files: Object.entries(files).map(([path, open]) => ({
        path,
        open: () => {
          onOpen(path);
          return open();
        },
      })),
    }),
    paths: [],
    holdsRecords: false,
    close: async () => undefined,
  }),
  takeMoment: async () => ({ takenAt: new Date(0).toISOString(), warnings: [] }),
  facts: async () => ({}),
  close: async () => undefined,
});

async function* text(content: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(content);
}

interface Taken {
  readonly result: ArchiveResult;
  readonly events: readonly string[];
  readonly contents: ReadonlyMap<string, string>;
}

async function take(
  parts: Readonly<Record<string, TestPart>>,
  options: Partial<ArchiveOptions>,
  paths = [join(folder, 'files')],
): Promise<Taken> {
  const events: string[] = [];
  const files = paths.length === 0 ? [] : [await openFileSystemSource({ paths, roots: [folder] })];
  await using source = Object.assign(
    new ApplicationSource({
      files,
      hidden: new Set([join(folder, 'files/live.db')]),
      parts: Object.entries(parts).map(([name, part]) => partOf(name, part, (path) => events.push(`${name}${path}`))),
      readme: 'read me',
      manifest: async () => {
        events.push('manifest');
        return '{}';
      },
      onFilesRead: () => events.push('files read'),
      timeMs: 0,
    }),
    {
      async [Symbol.asyncDispose](): Promise<void> {
        await source.close();
      },
    },
  );
  const repository = await createTestRepository();
  const common = { repository, source, hostname: 'host', username: 'ann', clock: impatientClock };
  const result = await archive({ ...common, ...options });
  const { entries } = await restoreTree(repository, result.snapshotId);
  const contents = new Map(
    [...entries].flatMap(([path, { bytes }]) => (bytes === undefined ? [] : [[path, Buffer.from(bytes).toString('latin1')]])),
  );
  return { result, events, contents };
}

describe.for([
  ['by threads', { concurrency: 2 }],
  ['without threads', { concurrency: 0 }],
] as const)('an application is stored %s', ([, options]) => {
  test('with its files at their paths and its parts beside them, files first and the manifest last', async () => {
    await writeFile(join(folder, 'files/a.txt'), 'a');
    await writeFile(join(folder, 'files/live.db'), 'not to be read');
    await writeFile(join(folder, 'files/inner/large.bin'), noise(9_000_000, 1));
    const { result, events, contents } = await take(
      { db: { files: { '/one.sql': () => text('one'), '/deep/two.sql': () => text('two') } } },
      options,
    );
    expect(result.skippedCount).toBe(0);
    expect([...contents.keys()].toSorted()).toEqual(
      [
        '/application-data/README.txt',
        '/application-data/db/deep/two.sql',
        '/application-data/db/one.sql',
        '/application-data/manifest.json',
        join(folder, 'files/a.txt'),
        join(folder, 'files/inner/large.bin'),
      ].toSorted(),
    );
    expect(contents.get('/application-data/db/deep/two.sql')).toBe('two');
    expect(contents.get(join(folder, 'files/inner/large.bin'))).toHaveLength(9_000_000);
    expect(events).toEqual(['files read', 'db/deep/two.sql', 'db/one.sql', 'manifest']);
  });

  test('however many files and folders its parts have', async () => {
    await writeFile(join(folder, 'files/a.txt'), 'a');
    const names = Array.from({ length: 1500 }, (_, nth) => `/many/${String(nth).padStart(4, '0')}`);
    const folders = Array.from({ length: 100 }, (_, nth) => `/folder-${nth}/file`);
    const files = Object.fromEntries([...names, ...folders].map((path) => [path, () => text(path)]));
    const { contents, events } = await take({ a: { files }, z: { files } }, options);
    expect(contents.size).toBe(2 * 1600 + 3);
    expect(events.at(-1)).toBe('manifest');
    expect(events.filter((event) => event.startsWith('a/many'))).toEqual(names.map((name) => `a${name}`));
  });

  test('not at all when a part fails, and nobody waits for ever', async () => {
    await writeFile(join(folder, 'files/large.bin'), noise(20_000_000, 2));
    const failing = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('begun');
      throw new HoldfastError('sqlite_failed', 'no more');
    };
    const files = { '/a': failing, '/b': () => text('b'), '/c': () => text('c') };
    await expect(take({ db: { files }, more: { files: { '/d': () => text('d') } } }, options)).rejects.toMatchObject({
      message: 'no more',
    });
  });

  test('not at all when it is aborted while parts wait for files', async () => {
    const ended = new AbortController();
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      ended.abort(new Error('enough'));
      for (;;) yield noise(100_000, 3);
    };
    await expect(take({ db: { files: { '/a': endless, '/b': endless } } }, { ...options, signal: ended.signal }, [])).rejects.toThrow(
      'enough',
    );
  });
});
