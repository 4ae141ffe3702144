import { closeSync, openSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { noAttributesFound, readAttributes, readOpenAttributes } from './extended-attributes.ts';
import { loadSystemCalls } from './system-calls.ts';

async function scratchFile(): Promise<{ path: string; descriptor: number }> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-attributes-'));
  const path = join(folder, 'file');
  await writeFile(path, 'content');
  const descriptor = openSync(path, 'r');
  onTestFinished(async () => {
    closeSync(descriptor);
    await rm(folder, { recursive: true });
  });
  return { path, descriptor };
}

it('attributes are the same by path and of the open file', async () => {
  const { path, descriptor } = await scratchFile();
  const values = { 'user.colour': Buffer.from('red'), 'user.empty': Buffer.alloc(0), 'user.large': Buffer.alloc(2000, 7) };
  for (const [name, value] of Object.entries(values)) loadSystemCalls()?.setAttribute(path, name, value);
  const found = readOpenAttributes(descriptor);
  expect(found).toEqual(readAttributes(path));
  if (loadSystemCalls() === undefined) return;
  expect(Object.fromEntries([...found.attributes].map(([name, value]) => [name, Buffer.from(value)]))).toEqual(values);
});

it('what has none is told at once', async () => {
  const { path, descriptor } = await scratchFile();
  expect(readAttributes(path)).toBe(noAttributesFound);
  expect(readOpenAttributes(descriptor)).toBe(noAttributesFound);
});

it.skipIf(loadSystemCalls() === undefined)('what cannot be asked is a problem of its attributes only', () => {
  const { problem } = readOpenAttributes(-1);
  expect(problem).toContain('EBADF');
});
