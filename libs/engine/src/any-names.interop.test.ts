import { bytesOfName, nameOfBytes } from '@holdfast/restic-format/file-name';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { pathFromBytes, pathToBytes } from '@holdfast/sources/system-path';
import fc from 'fast-check';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archive } from './archiver.ts';
import { check } from './checker.ts';
import { createRepository } from './create-repository.ts';
import { openRepository } from './repository.ts';
import { restore } from './restorer.ts';
import { listSnapshots } from './snapshots.ts';
import { describeRealTree } from './testing/real-tree.ts';
import { findStockRestics } from './testing/stock-restic.ts';
import { cheapKdf } from './testing/test-repository.ts';

const { found } = await findStockRestics();
let place = '';
/** Below it: folders, files and symlinks with names of any bytes. */
let source = '';

const anyName = fc
  .uint8Array({ minLength: 1, maxLength: 30 })
  .map((bytes) => Buffer.from(bytes))
  .filter((bytes) => !bytes.includes(0) && !bytes.includes(0x2f) && !['.', '..'].includes(bytes.toString('latin1')));

beforeAll(async () => {
  place = await mkdtemp(`${tmpdir()}/holdfast-names-`);
  source = `${place}/source`;
  const folder = Buffer.concat([Buffer.from(`${source}/fold`), Buffer.of(0xe9, 0x72)]);
  await mkdir(folder, { recursive: true });
  for (const name of new Map(fc.sample(anyName, { numRuns: 150, seed: 7 }).map((bytes) => [bytes.toString('latin1'), bytes])).values()) {
    await writeFile(Buffer.concat([folder, Buffer.from('/'), name]), name);
  }
});
afterAll(() => rm(place, { recursive: true, force: true }));

let folderCount = 0;
const newPath = (name: string): string => `${place}/${name}-${folderCount++}`;

async function archiveTo(path: string, from: string): Promise<string> {
  const storage = await openLocalStorage({ path });
  await using repository = await createRepository({ storage, password: 'secret', hostname: hostname(), username: 'root', kdf: cheapKdf });
  const opened = await openFileSystemSource({ paths: [from], roots: [place] });
  const { snapshotId, skipped } = await archive({ repository, source: opened, hostname: hostname(), username: 'root' });
  await opened.close();
  expect(skipped).toEqual([]);
  for (const level of ['integrity', 'checksum'] as const) expect((await check({ repository, level })).findings).toEqual([]);
  return snapshotId;
}

async function restoreFrom(path: string, snapshotId?: string): Promise<string> {
  await using repository = await openRepository({ storage: await openLocalStorage({ path }), password: 'secret' });
  const [first] = await listSnapshots(repository);
  const to = newPath('restored');
  const target = openFileSystemTarget({ path: to, roots: [place], overwrite: false });
  const result = await restore({ repository, snapshotId: snapshotId ?? first?.id ?? '', target });
  expect([result.failed, result.warnings]).toEqual([[], []]);
  return to;
}

it('both packages spell the bytes of a name alike', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => {
      expect(pathFromBytes(bytes)).toBe(nameOfBytes(bytes));
      expect([...pathToBytes(nameOfBytes(bytes))]).toEqual([...bytesOfName(pathFromBytes(bytes))]);
    }),
  );
});

it('a link target of any bytes comes back', async () => {
  const from = newPath('links');
  await mkdir(from);
  for (const [nth, target] of fc.sample(anyName, { numRuns: 30, seed: 3 }).entries()) await symlink(target, `${from}/link-${nth}`);
  const path = newPath('repository');
  const snapshotId = await archiveTo(path, from);
  expect(await describeRealTree((await restoreFrom(path, snapshotId)) + from)).toEqual(await describeRealTree(from));
});

describe.each(found)('with $name ($version)', (restic) => {
  it('names of any bytes are restored byte for byte by both, whoever stored them', async () => {
    const expected = await describeRealTree(source);
    expect(expected.length).toBeGreaterThan(130);
    const ours = newPath('ours');
    const snapshotId = await archiveTo(ours, source);
    expect(await describeRealTree((await restoreFrom(ours, snapshotId)) + source)).toEqual(expected);
    expect(await restic.run(ours, ['check', '--read-data'])).toContain('no errors were found');
    const to = newPath('by-restic');
    await restic.run(ours, ['restore', snapshotId, '--target', to]);
    expect(await describeRealTree(to + source)).toEqual(expected);
    const lines = (await restic.run(ours, ['backup', '--json', '--force', source])).trim().split('\n');
    // Our trees are its trees, but for the two above, whose times others change.
    const { data_blobs, tree_blobs } = JSON.parse(lines.at(-1) ?? '') as { data_blobs: number; tree_blobs: number };
    expect([data_blobs, tree_blobs <= 3]).toEqual([0, true]);

    const theirs = newPath('theirs');
    await restic.run(theirs, ['init']);
    await restic.run(theirs, ['backup', source]);
    expect(await describeRealTree((await restoreFrom(theirs)) + source)).toEqual(expected);
  });

  it('a socket is recorded and recovered by us, and passed over by it', async () => {
    const from = newPath('sockets');
    await mkdir(from);
    await writeFile(`${from}/file`, 'x');
    const server = createServer().listen(`${from}/socket`);
    await new Promise((resolve) => server.once('listening', resolve));
    const path = newPath('ours');
    const snapshotId = await archiveTo(path, from);
    expect(await describeRealTree((await restoreFrom(path, snapshotId)) + from)).toEqual(await describeRealTree(from));
    expect(await restic.run(path, ['check', '--read-data'])).toContain('no errors were found');
    const to = newPath('by-restic');
    await restic.run(path, ['restore', snapshotId, '--target', to]);
    expect(await describeRealTree(to + from)).toHaveLength(1);
    server.close();
  });
});
