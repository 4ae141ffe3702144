import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { expect, it, onTestFinished } from 'vitest';
import { openLocalStorage } from './local-storage.ts';

const run = promisify(execFile);

it.skipIf(process.geteuid?.() !== 0)('says that a full disk is full, leaves nothing, and goes on when there is room', async () => {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-full-'));
  await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path]);
  onTestFinished(async () => {
    await run('umount', [path]);
    await rmdir(path);
  });
  const storage = await openLocalStorage({ path });
  await storage.put('data/ab/first', Buffer.alloc(700_000));
  await expect(storage.put('data/ab/second', Buffer.alloc(700_000))).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_full'));
  expect(await readdir(join(path, 'data', 'ab'))).toEqual(['first']);
  await storage.delete('data/ab/first');
  await storage.put('data/ab/second', Buffer.alloc(700_000));
  expect((await storage.stat('data/ab/second')).sizeBytes).toBe(700_000);
});
