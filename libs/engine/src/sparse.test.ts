import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { loadSystemCalls } from '@holdfast/sources/system-calls';
import { mkdtemp, open, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { expect, it, onTestFinished } from 'vitest';
import { archive } from './archiver.ts';
import { createBlobLoader } from './blob-loader.ts';
import { check } from './checker.ts';
import { loadIndex } from './load-index.ts';
import { createTestRepository, impatientClock as clock, noise } from './testing/test-repository.ts';

const gigabyte = 1e9;

it.skipIf(loadSystemCalls() === undefined)(
  'a file of 120 GB that is mostly holes is stored as fast as its data is read',
  async ({ skip }) => {
    const base = await realpath(await mkdtemp(`${tmpdir()}/holdfast-sparse-`));
    onTestFinished(() => rm(base, { recursive: true }));
    const path = `${base}/disk.img`;
    /** Where there is data: at the beginning, far within, and a little before the end. */
    const islands = [0, 50 * gigabyte + 12_345, 50 * gigabyte + 9_000_000, 119 * gigabyte].map((position, nth) => ({
      position,
      bytes: noise(1_500_000, nth + 1),
    }));
    const sizeBytes = 120 * gigabyte + 77;
    const handle = await open(path, 'w');
    for (const { position, bytes } of islands) await handle.write(bytes, 0, bytes.length, position);
    await handle.truncate(sizeBytes);
    await handle.close();
    if ((await stat(path)).blocks * 512 > gigabyte) skip('no holes on this file system');

    const repository = await createTestRepository();
    const source = await openFileSystemSource({ paths: [path], roots: [base] });
    const result = await archive({ repository, source, hostname: 'host', username: 'ann', clock });
    expect(result).toMatchObject({ skipped: [], summary: { filesNew: 1, totalBytesProcessed: sizeBytes } });
    expect(result.summary.dataAddedPacked).toBeLessThan(20_000_000);

    const { index } = await loadIndex(repository);
    const loader = createBlobLoader(repository, index);
    let tree = result.treeId;
    for (const name of base.split('/').filter(Boolean)) {
      tree = (await loader.loadTree(tree)).find((node) => node.name === name)?.subtree ?? '';
    }
    const [node] = await loader.loadTree(tree);
    expect(node?.sizeBytes).toBe(sizeBytes);
    // All of its content, put together from the chunks: what is no island is zero.
    let position = 0;
    let zeroId: string | undefined;
    const found = islands.map(({ bytes }) => Buffer.alloc(bytes.length, 0xaa));
    for (const id of node?.content ?? []) {
      const isKnownZero = id === zeroId;
      const plain = isKnownZero ? null : await loader.load('data', id);
      const length = plain?.length ?? 512 * 1024;
      if (plain?.length === 512 * 1024 && plain.every((byte) => byte === 0)) zeroId = id;
      for (const [nth, island] of islands.entries()) {
        const from = Math.max(island.position, position);
        const to = Math.min(island.position + island.bytes.length, position + length);
        const into = found[nth];
        if (from >= to || into === undefined) continue;
        if (plain === null) into.fill(0, from - island.position, to - island.position);
        else into.set(plain.subarray(from - position, to - position), from - island.position);
      }
      position += length;
    }
    expect(position).toBe(sizeBytes);
    for (const [nth, { bytes }] of islands.entries()) expect(Buffer.compare(found[nth] ?? Buffer.alloc(0), bytes)).toBe(0);
    expect((await check({ repository, level: 'integrity', clock })).findings).toEqual([]);
  },
);
