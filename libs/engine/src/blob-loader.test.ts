import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { GetOptions, Storage } from '@holdfast/storage/storage';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { expect, it } from 'vitest';
import { createBlobLoader } from './blob-loader.ts';
import { loadIndex } from './load-index.ts';
import { loadSnapshot } from './snapshots.ts';
import { archiveTree, createTestRepository, openTestRepository, text } from './testing/test-repository.ts';

/** What each read of a pack was asked with, and gives rotten bytes for those that `isRotten` names. */
function rottenReads(inner: Storage, asked: GetOptions['keep'][], isRotten: (keep: GetOptions['keep']) => boolean): Storage {
  return {
    location: inner.location,
    put: (...call) => inner.put(...call),
    stat: (...call) => inner.stat(...call),
    list: (...call) => inner.list(...call),
    delete: (...call) => inner.delete(...call),
    close: () => inner.close(),
    async get(name, options) {
      const bytes = await inner.get(name, options);
      if (!name.startsWith('data/')) return bytes;
      asked.push(options?.keep);
      return isRotten(options?.keep) ? bytes.map((byte) => byte ^ 1) : bytes;
    },
  };
}

async function loaderOver(isRotten: (keep: GetOptions['keep']) => boolean) {
  const inner = openMemoryStorage();
  const { snapshotId } = await archiveTree(await createTestRepository(inner), { a: text('content') });
  const asked: GetOptions['keep'][] = [];
  const repository = await openTestRepository(rottenReads(inner, asked, isRotten));
  const { index } = await loadIndex(repository);
  const { tree } = await loadSnapshot(repository, snapshotId);
  return { loader: createBlobLoader(repository, index), tree, asked };
}

it('says of trees that they are wanted again, and not of data', async () => {
  const { loader, tree, asked } = await loaderOver(() => false);
  const [node] = await loader.loadTree(tree);
  await loader.load('data', node?.content?.[0] ?? '');
  expect(asked).toEqual(['yes', undefined]);
});

it('asks the repository itself for a tree that was kept and is not whole, once', async () => {
  const { loader, tree, asked } = await loaderOver((keep) => keep === 'yes');
  expect((await loader.loadTree(tree)).map(({ name }) => name)).toEqual(['a']);
  expect((await loader.loadTree(tree)).map(({ name }) => name)).toEqual(['a']);
  expect(asked).toEqual(['yes', 'anew']);
});

it('fails when the repository has it no better', async () => {
  const { loader, tree, asked } = await loaderOver(() => true);
  await expect(loader.loadTree(tree)).rejects.toSatisfy((error) => isHoldfastError(error, 'repository_damaged'));
  expect(asked).toEqual(['yes', 'anew']);
});
