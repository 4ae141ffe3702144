import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { expect, it, onTestFinished } from 'vitest';
import { openLocalStorage } from './local-storage.ts';
import { beginObject } from '../thread-storage.ts';

async function scratch(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-growing-'));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

it('grows where nobody sees it, and is an object once it has its name', async () => {
  const path = join(await scratch(), 'new');
  const storage = await openLocalStorage({ path });
  const object = await beginObject({ kind: 'local', path }, 'data');
  object.append(Buffer.from('one '));
  expect(await Array.fromAsync(storage.list(''))).toEqual([]);
  object.append(Buffer.from('two'));
  await object.commit('data/ab/abcd');
  expect(Buffer.from(await storage.get('data/ab/abcd')).toString()).toBe('one two');
  expect((await stat(join(path, 'data/ab/abcd'))).mode & 0o777).toBe(0o600);
  expect(await readdir(join(path, 'data'))).toEqual(['ab']);
});

it('leaves nothing when it is discarded', async () => {
  const path = await scratch();
  const object = await beginObject({ kind: 'local', path }, 'data');
  object.append(Buffer.from('never mind'));
  object.discard();
  object.discard();
  expect(await readdir(join(path, 'data'))).toEqual([]);
  expect(() => object.append(Buffer.from('more'))).toThrow('no more');
});

it('never replaces an object, and leaves nothing of its own then', async () => {
  const path = await scratch();
  await (await openLocalStorage({ path })).put('data/ab/abcd', Buffer.from('first'));
  const object = await beginObject({ kind: 'local', path }, 'data');
  object.append(Buffer.from('second'));
  await expect(object.commit('data/ab/abcd')).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_object_exists'));
  expect(await readFile(join(path, 'data/ab/abcd'), 'utf8')).toBe('first');
  expect(await readdir(join(path, 'data'))).toEqual(['ab']);
});
