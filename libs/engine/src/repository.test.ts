import type { ErrorCode } from '@holdfast/errors/error-codes';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { createCipher } from '@holdfast/restic-format/cipher';
import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { faultAt, openFaultyStorage } from '@holdfast/storage/testing/faulty-storage';
import { openHeldStorage } from '@holdfast/storage/testing/held-storage';
import { openAppendOnlyStorage } from '@holdfast/storage/wrappers/append-only-storage';
import { describe, expect, it } from 'vitest';
import { openOrCreateRepository } from './create-repository.ts';
import { cheapKdf, createTestRepository, openTestRepository } from './testing/test-repository.ts';

const failsWith = (code: ErrorCode) => (error: unknown) => isHoldfastError(error, code);

async function names(storage: Storage, prefix = ''): Promise<string[]> {
  return (await Array.fromAsync(storage.list(prefix))).map(({ name }) => name);
}

describe('repository', () => {
  it('opens with its password only', async () => {
    const storage = openMemoryStorage();
    const made = await createTestRepository(storage);
    const opened = await openTestRepository(storage);
    expect(opened).toMatchObject({ id: made.id, chunkerPolynomial: made.chunkerPolynomial });
    expect(opened.cipher.open(made.cipher.seal(Buffer.from('x')))).toEqual(Buffer.from('x'));
    await expect(openTestRepository(storage, 'Secret')).rejects.toSatisfy(failsWith('repository_password_wrong'));
  });

  it('opens with an empty password when it was made with one', async () => {
    const storage = openMemoryStorage();
    await createTestRepository(storage, { password: '' });
    await openTestRepository(storage, '');
    await expect(openTestRepository(storage, 'x')).rejects.toSatisfy(failsWith('repository_password_wrong'));
  });

  it('says what is wrong: nothing there, there already, no key, a damaged config, a damaged key', async () => {
    const storage = openMemoryStorage();
    await expect(openTestRepository(storage)).rejects.toSatisfy(failsWith('repository_missing'));
    await createTestRepository(storage);
    await expect(createTestRepository(storage)).rejects.toSatisfy(failsWith('repository_exists'));

    const [keyName = ''] = await names(storage, 'keys/');
    const key = await storage.get(keyName);
    await storage.delete(keyName);
    await expect(openTestRepository(storage)).rejects.toSatisfy(failsWith('repository_damaged'));
    await storage.put(keyName, key.subarray(0, 40));
    await expect(openTestRepository(storage)).rejects.toSatisfy(failsWith('repository_damaged'));

    const other = openMemoryStorage();
    await createTestRepository(other);
    const config = await other.get('config');
    config[20] = (config[20] ?? 0) ^ 1;
    await other.delete('config');
    await other.put('config', config);
    await expect(openTestRepository(other)).rejects.toSatisfy(failsWith('repository_damaged'));
  });

  it('is made whole by the next attempt after a crash at any operation', async () => {
    for (let number = 1; ; number++) {
      const storage = openMemoryStorage();
      const faulty = openFaultyStorage(storage, faultAt(number, number % 2 === 0 ? 'crash-after' : 'crash-before'));
      const crashed = await createTestRepository(faulty).then(
        () => false,
        () => true,
      );
      const repository = await openOrCreateRepository({ storage, password: 'secret', hostname: 'h', username: 'u', kdf: cheapKdf });
      expect((await openTestRepository(storage)).id).toBe(repository.id);
      expect(await names(storage, 'keys/')).toHaveLength(1);
      if (!crashed) break;
    }
  });

  it('is one, however many make it at once where nothing may be deleted', async () => {
    const storages = [
      openAppendOnlyStorage(openMemoryStorage()),
      openHeldStorage(openMemoryStorage(), { rule: () => 'for good', now: () => new Date() }),
    ];
    for (const storage of storages) {
      const options = { storage, password: 'secret', hostname: 'h', username: 'u', kdf: cheapKdf };
      const made = await Promise.all(Array.from({ length: 5 }, () => openOrCreateRepository(options)));
      expect(new Set(made.map(({ id }) => id)).size).toBe(1);
      // Those of the others, which open nothing.
      expect((await names(storage, 'keys/')).length).toBeGreaterThan(1);
      expect((await openTestRepository(storage)).id).toBe(made[0]?.id);
    }
  });

  it('is one, however many make it at once', async () => {
    const storage = openMemoryStorage();
    const options = { storage, password: 'secret', hostname: 'h', username: 'u', kdf: cheapKdf };
    const made = await Promise.all(Array.from({ length: 5 }, () => openOrCreateRepository(options)));
    expect(new Set(made.map(({ id }) => id)).size).toBe(1);
    // Every key that is left fits: stock restic takes the first that opens.
    expect((await names(storage, 'keys/')).length).toBeGreaterThanOrEqual(1);
    const sealed = made[0]?.cipher.seal(Buffer.from('x')) ?? new Uint8Array();
    for (const repository of made) expect(createCipher(repository.masterKeys).open(sealed)).toHaveLength(1);
  });
});
