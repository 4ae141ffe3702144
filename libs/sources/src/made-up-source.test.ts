import { expect, test } from 'vitest';
import type { Part } from './application-data/part.ts';
import { compareReadingOrder, MadeUpSource, type MadeUpFile } from './made-up-source.ts';
import { textContent } from './postgresql/logical/stream-file.ts';
import { readWhole, walk } from './testing/source-contract.ts';

const file = (path: string): MadeUpFile => ({ path, estimatedBytes: 2_000_000, open: () => textContent(`this is ${path}`) });
const names = ['/databases/shop/tables/b.sql', '/dump.rdb', '/databases/shop/tables/a.sql', '/databases/shop-2.sql', '/databases/é.sql'];

const open = () => {
  let closed = 0;
  let listed = 0;
  const source = new MadeUpSource({
    list: async () => {
      listed++;
      return { timeMs: 1_700_000_000_000, files: names.map(file) };
    },
    paths: ['/databases', '/dump.rdb'],
    holdsRecords: true,
    close: async () => void closed++,
  });
  return { source, counts: () => ({ closed, listed }) };
};

test('shows files and the folders that their paths name, and asks once which there are', async () => {
  const { source, counts } = open();
  const nodes = await walk(source);
  expect([...nodes.keys()]).toEqual([
    '/databases',
    '/databases/shop',
    '/databases/shop/tables',
    '/databases/shop/tables/a.sql',
    '/databases/shop/tables/b.sql',
    '/databases/shop-2.sql',
    '/databases/é.sql',
    '/dump.rdb',
  ]);
  expect(nodes.get('/dump.rdb')).toMatchObject({ type: 'file', sizeBytes: 2_000_000, modifiedNs: 1_700_000_000_000_000_000n });
  expect(Buffer.from(await readWhole(source, '/databases/é.sql', 100)).toString()).toBe('this is /databases/é.sql');
  expect(await source.estimate()).toEqual({ files: 5, bytes: 10_000_000 });
  await source.close();
  expect(counts()).toEqual({ closed: 1, listed: 1 });
});

test('begins files in the order of the listings', async () => {
  const { source } = open();
  const files = [...(await walk(source))].filter(([, node]) => node.type === 'file').map(([path]) => path);
  expect(names.toSorted(compareReadingOrder)).toEqual(files);
});

test('what is not there has its code, as what a signal ended has its reason', async () => {
  const { source } = open();
  for (const path of ['/data', '/databases/sho', '/dump.rdb/x']) {
    await expect(source.readDirectory(path)).rejects.toMatchObject({ code: 'path_not_found' });
    await expect(source.openFile(path)).rejects.toMatchObject({ code: 'path_not_found' });
  }
  await expect(source.readDirectory('/', { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
});

test('is the source of a part', async () => {
  const { source } = open();
  const part: Part = {
    kind: 'made-up',
    name: 'one',
    source,
    takeMoment: async () => ({ takenAt: '2026-01-01T00:00:00.000Z', warnings: [] }),
    facts: async () => ({ files: (await source.estimate()).files }),
    close: () => source.close(),
  };
  expect(await part.facts()).toEqual({ files: 5 });
});
