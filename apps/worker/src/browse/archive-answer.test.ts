import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openSnapshotBrowser } from '@holdfast/engine/browse/snapshot-browser';
import { archiveTree, createTestRepository } from '@holdfast/engine/testing/test-repository';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { archiveAnswer } from './archive-answer.ts';
import { createTarWriter } from './tar-writer.ts';
import { createZipWriter } from './zip-writer.ts';

const { signal } = new AbortController();
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-archive-answer-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
const entriesMaxCount = 5;

/** What Python finds in the archive: names to text. */
async function contentsOf(format: 'tar' | 'zip'): Promise<Record<string, string>> {
  await using repository = await createTestRepository();
  const entries = Object.fromEntries(names.map((name) => [name, { type: 'file', bytes: Buffer.from(`content of ${name}`) } as const]));
  const { snapshotId } = await archiveTree(repository, { data: { type: 'dir', entries } });
  await using browser = openSnapshotBrowser({ repository });
  const query = new URLSearchParams({ snapshotId, format, paths: '/data' });
  const writers = { tar: createTarWriter, zip: () => createZipWriter({ entriesMaxCount }) };
  const { body } = await archiveAnswer(browser, { query, signal }, writers);
  const path = join(folder, `a.${format}`);
  await writeFile(path, Buffer.concat(await Array.fromAsync(body ?? [])));
  const program = `
import json, sys, tarfile, zipfile
if sys.argv[1].endswith('zip'):
    archive = zipfile.ZipFile(sys.argv[1])
    found = {name: archive.read(name).decode() for name in archive.namelist()}
else:
    archive = tarfile.open(sys.argv[1])
    found = {one.name: archive.extractfile(one).read().decode() if one.isfile() else '' for one in archive}
print(json.dumps(found))
`;
  return JSON.parse((await promisify(execFile)('python3', ['-c', program, path])).stdout) as Record<string, string>;
}

test('a zip holds as many entries as it may, and says which are left out', async () => {
  const { 'HOLDFAST-LEFT-OUT.txt': note = '', ...found } = await contentsOf('zip');
  const kept = names.slice(0, entriesMaxCount - 1);
  expect(found).toEqual({ 'data/': '', ...Object.fromEntries(kept.map((name) => [`data/${name}`, `content of ${name}`])) });
  for (const name of names)
    expect(note.includes(`/data/${name}: left out, one zip has at most 5 entries; take tar`), name).toBe(!kept.includes(name));
});

test('a tar has no such limit', async () => {
  expect(await contentsOf('tar')).toEqual({ data: '', ...Object.fromEntries(names.map((name) => [`data/${name}`, `content of ${name}`])) });
});
