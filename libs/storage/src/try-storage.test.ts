import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { expect, it } from 'vitest';
import { openMemoryStorage } from './memory-storage.ts';
import type { StorageOperation } from './storage.ts';
import { openFaultyStorage } from './testing/faulty-storage.ts';
import { tryStorage } from './try-storage.ts';
import { openAppendOnlyStorage } from './wrappers/append-only-storage.ts';

const { signal } = new AbortController();

it('does each step once and leaves nothing', async () => {
  const storage = openMemoryStorage();
  const { ok, steps, holdsRepository } = await tryStorage(async () => storage, 'local', signal);
  expect({ ok, holdsRepository }).toEqual({ ok: true, holdsRepository: false });
  expect(steps.map(({ step }) => step)).toEqual(['open', 'look', 'write', 'read', 'list', 'refuse_overwrite', 'delete']);
  expect(await Array.fromAsync(storage.list(''))).toEqual([]);
});

it('sees a repository that is there, and leaves it alone', async () => {
  const storage = openMemoryStorage();
  await storage.put('config', Buffer.from('x'));
  expect((await tryStorage(async () => storage, 'local', signal)).holdsRepository).toBe(true);
  expect((await Array.fromAsync(storage.list(''))).map(({ name }) => name)).toEqual(['config']);
});

it.each([
  ['put', 'write', 's3:PutObject'],
  ['get', 'read', 's3:GetObject'],
  ['list', 'list', 's3:ListBucket'],
  ['delete', 'delete', 's3:DeleteObject'],
] as const)('names the right that is missing when %s is denied', async (denied: StorageOperation, step, right) => {
  const denying = openFaultyStorage(
    openMemoryStorage(),
    ({ kind }) => (kind === denied ? 'before' : undefined),
    () => new HoldfastError('storage_denied', 'AccessDenied'),
  );
  const { ok, steps } = await tryStorage(async () => denying, 's3', signal);
  expect(ok).toBe(false);
  const failed = steps.filter((each) => !each.ok && each.step !== 'refuse_overwrite');
  expect(failed).toMatchObject([{ step, errorCode: 'storage_denied', message: 'AccessDenied' }]);
  expect(failed[0]?.hint).toContain(right);
});

it('takes it for right that an append-only one may not delete', async () => {
  const inner = openMemoryStorage();
  const denying = openFaultyStorage(
    inner,
    ({ kind }) => (kind === 'delete' ? 'before' : undefined),
    () => new HoldfastError('storage_denied', 'AccessDenied'),
  );
  const { ok } = await tryStorage(async () => openAppendOnlyStorage(denying), 's3', signal, { appendOnly: true });
  expect(ok).toBe(true);
  expect(await Array.fromAsync(inner.list('trial/'))).toHaveLength(1);
});

it('says when a storage replaces objects', async () => {
  const storage = openMemoryStorage();
  const put = storage.put.bind(storage);
  storage.put = async (name, bytes) => {
    await storage.delete(name);
    await put(name, bytes);
  };
  expect((await tryStorage(async () => storage, 'ftp', signal)).steps).toContainEqual(
    expect.objectContaining({ step: 'refuse_overwrite', ok: false }),
  );
});

it('says why a storage cannot be opened', async () => {
  const open = (): Promise<never> => Promise.reject(new HoldfastError('storage_denied', 'the host key is another one'));
  expect(await tryStorage(open, 'sftp', signal)).toMatchObject({
    ok: false,
    holdsRepository: null,
    steps: [{ step: 'open', ok: false, errorCode: 'storage_denied', message: 'the host key is another one' }],
  });
});

it('throws for an abort', async () => {
  const aborted = AbortSignal.abort(new Error('stop'));
  await expect(tryStorage(async () => openMemoryStorage(), 'local', aborted)).rejects.toThrow('stop');
});
