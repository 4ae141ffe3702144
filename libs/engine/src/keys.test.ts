import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { faultAt, openFaultyStorage } from '@holdfast/storage/testing/faulty-storage';
import { describe, expect, it } from 'vitest';
import { addKey, changePassword, listKeys, removeKey } from './keys.ts';
import { currentHolder } from './lock-holder.ts';
import { maxKeysTried } from './repository.ts';
import {
  archiveTree,
  cheapKdf as kdf,
  createTestRepository,
  expectedContents,
  impatientClock as clock,
  openTestRepository,
  restoredContents,
  restoreTree,
  text,
} from './testing/test-repository.ts';

const failsWith = (code: ErrorCode) => (error: unknown) => isHoldfastError(error, code);
const tree = { file: text('content') };
const opens = (storage: Storage, password: string): Promise<boolean> =>
  openTestRepository(storage, password).then(
    () => true,
    () => false,
  );

describe('keys', () => {
  it('each open the same repository, and go one by one, but for the last and the one in use', async () => {
    const storage = openMemoryStorage();
    const repository = await createTestRepository(storage);
    const { snapshotId } = await archiveTree(repository, tree);
    const second = await addKey({ repository, password: 'second', username: 'bob', hostname: 'desk', kdf, clock });
    const listed = await listKeys({ repository });
    expect(listed.find(({ id }) => id === second)).toMatchObject({ isInUse: false, username: 'bob', hostname: 'desk' });
    expect(listed.filter(({ isInUse }) => isInUse)).toMatchObject([{ id: repository.keyId, username: 'ann', hostname: 'host' }]);

    const bySecond = await openTestRepository(storage, 'second');
    expect(bySecond.keyId).toBe(second);
    expect(restoredContents(await restoreTree(bySecond, snapshotId))).toEqual(expectedContents(tree));
    await expect(removeKey({ repository: bySecond, id: second, clock })).rejects.toSatisfy(failsWith('repository_key_needed'));
    await removeKey({ repository: bySecond, id: repository.keyId ?? '', clock });
    await removeKey({ repository: bySecond, id: 'f'.repeat(64), clock });
    expect(await opens(storage, 'secret')).toBe(false);
    // A handle whose own key has gone must not take the last one.
    await expect(removeKey({ repository, id: second, clock })).rejects.toSatisfy(failsWith('repository_key_needed'));
    expect(await opens(storage, 'second')).toBe(true);
  });

  it('change their password and nothing else', async () => {
    const storage = openMemoryStorage();
    const repository = await createTestRepository(storage);
    await addKey({ repository, password: 'other', kdf, clock });
    const { snapshotId } = await archiveTree(repository, tree);
    const before = await names(storage);
    const id = await changePassword({ repository, password: 'new', kdf, clock });
    expect([await opens(storage, 'secret'), await opens(storage, 'new'), await opens(storage, 'other')]).toEqual([false, true, true]);
    const unchanged = (name: string): boolean => !name.startsWith('keys/');
    expect((await names(storage)).filter(unchanged)).toEqual(before.filter(unchanged));
    expect(repository.keyId).toBe(id);
    await changePassword({ repository, password: '', kdf, clock });
    expect(restoredContents(await restoreTree(await openTestRepository(storage, ''), snapshotId))).toEqual(expectedContents(tree));
    expect(await opens(storage, 'new')).toBe(false);
  });

  it('are no more than are tried on opening', async () => {
    const repository = await createTestRepository();
    const add = () => addKey({ repository, password: 'x', kdf, clock });
    for (let count = 1; count < maxKeysTried; count++) await add();
    await expect(add()).rejects.toSatisfy(failsWith('request_invalid'));
  });

  it('that are damaged are listed with their problem, and do not count as another', async () => {
    const storage = openMemoryStorage();
    const repository = await createTestRepository(storage);
    const second = await addKey({ repository, password: 'second', kdf, clock });
    const bytes = await storage.get(`keys/${repository.keyId}`);
    await storage.delete(`keys/${repository.keyId}`);
    await storage.put(`keys/${repository.keyId}`, bytes.subarray(0, 100));
    const keys = await listKeys({ repository });
    expect(keys.find(({ isInUse }) => isInUse)?.problem).toContain('does not have the content');
    await expect(removeKey({ repository, id: second, clock })).rejects.toSatisfy(failsWith('repository_key_needed'));
  });

  it('open the repository with one password or the other, whatever operation of a change fails', async () => {
    for (let number = 1; ; number++) {
      let isBeyondEnd = true;
      for (const fault of ['before', 'after', 'crash-before', 'crash-after'] as const) {
        const storage = openMemoryStorage();
        await createTestRepository(storage);
        const faulty = openFaultyStorage(storage, faultAt(number, fault));
        const holder = { ...currentHolder(), pid: 2 ** 22 + 7 };
        await openTestRepository(faulty)
          .then((repository) => changePassword({ repository, password: 'new', kdf, clock, holder }))
          .catch(() => {});
        isBeyondEnd &&= faulty.operationCount < number;
        expect((await opens(storage, 'secret')) || (await opens(storage, 'new'))).toBe(true);
      }
      if (isBeyondEnd) return expect(number).toBeGreaterThan(10);
    }
  });
});

async function names(storage: Storage): Promise<string[]> {
  return (await Array.fromAsync(storage.list(''))).map(({ name }) => name).toSorted();
}
