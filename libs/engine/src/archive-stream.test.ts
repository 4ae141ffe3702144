import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { openFaultyStorage } from '@holdfast/storage/testing/faulty-storage';
import { randomFillSync } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import { archiveStream, type ArchiveStreamOptions } from './archive-stream.ts';
import type { StreamNode } from './archive-stream/received-folder.ts';
import type { InspectedContent, StreamSink } from './archive-stream/stream-tree.ts';
import { check } from './checker.ts';
import { listSnapshots } from './snapshots.ts';
import { openMemorySource, type MemoryFolder } from './testing/memory-source.ts';
import {
  archiveTree,
  createTestRepository,
  expectedContents,
  impatientClock as clock,
  noise,
  openTestRepository,
  restoredContents,
  restoreTree,
} from './testing/test-repository.ts';
import { sumInspectorModule } from './testing/sum-inspector.ts';
import { openThreadPool } from './threads/thread-pool.ts';

const pool = openThreadPool({ concurrency: 2 });
afterAll(() => pool.close());

const server: MemoryFolder = {
  pg: {
    type: 'dir',
    entries: {
      base: {
        type: 'dir',
        entries: {
          '5': {
            type: 'dir',
            entries: Object.fromEntries(
              Array.from({ length: 1500 }, (_, nth) => [`f${nth}`, { type: 'file', bytes: Buffer.from(`${nth % 1000}`) }]),
            ),
          },
          large: { type: 'file', bytes: noise(40_000_000, 1) },
          same: { type: 'file', bytes: noise(40_000_000, 1) },
        },
      },
      empty: { type: 'dir', entries: {} },
      'empty-file': { type: 'file', bytes: new Uint8Array() },
      'odd "\n ü \udcff': { type: 'file', bytes: Buffer.from('odd') },
      pg_tblspc: { type: 'dir', entries: { '16400': { type: 'symlink', linkTarget: '/mnt/fast' } } },
    },
  },
};

interface Sent {
  readonly path: string;
  readonly node: StreamNode;
  readonly bytes: Uint8Array | undefined;
}

/** Everything in the tree as a stream would send it, folders first. */
async function sentOf(tree: MemoryFolder): Promise<Sent[]> {
  const source = openMemorySource(tree);
  const sent: Sent[] = [];
  const walk = async (folder: string, entries: MemoryFolder): Promise<void> => {
    for (const entry of await source.readDirectory(folder === '' ? '/' : folder)) {
      if (entry.kind === 'skipped') continue;
      const { name, sizeBytes: _, ...node } = entry.node;
      const made = entries[name];
      sent.push({ path: `${folder}/${name}`, node, bytes: made?.type === 'file' ? made.bytes : undefined });
      if (made?.type === 'dir') await walk(`${folder}/${name}`, made.entries);
    }
  };
  await walk('', tree);
  return sent;
}

async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  // One buffer, as a socket might have it: a piece is gone when the next is asked for.
  const piece = new Uint8Array(65_000);
  for (let at = 0; at < bytes.length; at += piece.length) {
    const part = bytes.subarray(at, at + piece.length);
    piece.set(part);
    yield piece.subarray(0, part.length);
    piece.fill(0);
  }
}

async function sendTo(sink: StreamSink, sent: readonly Sent[]): Promise<void> {
  for (const { path, node, bytes } of sent) {
    if (bytes === undefined) await sink.add(path, node);
    else await sink.addFile(path, node, inPieces(bytes));
  }
}

async function run(storage: Storage, options: Partial<ArchiveStreamOptions> = {}, tree = server) {
  const receive = async (sink: StreamSink): Promise<void> => await sendTo(sink, await sentOf(tree));
  const repository = await openTestRepository(storage);
  return await archiveStream({ repository, paths: ['/pg'], hostname: 'host', username: 'ann', clock, pool, receive, ...options });
}

async function newStorage(): Promise<Storage> {
  const storage = openMemoryStorage();
  await createTestRepository(storage);
  return storage;
}

async function expectClean(storage: Storage): Promise<void> {
  const { findings } = await check({ repository: await openTestRepository(storage), level: 'checksum', clock });
  expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
}

describe.each([
  ['threads', {}],
  ['no threads', { concurrency: 0 }],
])('a stream that is stored by %s', (_name, how) => {
  it('becomes the snapshot that the same tree becomes, in whatever order it comes', async () => {
    const storage = await newStorage();
    const received = await run(storage, how);
    const other = await newStorage();
    const walked = await archiveTree(await openTestRepository(other), server, { concurrency: 0 });
    const backwards = (await sentOf(server)).toReversed();
    const reversed = await run(await newStorage(), { ...how, receive: async (sink) => await sendTo(sink, backwards) });
    const repository = await openTestRepository(storage);
    const again = await run(storage, how);
    expect(reversed.summary.totalFilesProcessed).toBe(received.summary.totalFilesProcessed);
    expect(again.treeId).toBe(received.treeId);
    expect(again.summary).toMatchObject({ dataBlobs: 0, treeBlobs: 0 });
    const { dataBlobs: _, dataAdded: __, dataAddedPacked: ___, ...counts } = walked.summary;
    expect(received.summary).toMatchObject(counts);
    const restored = await restoreTree(repository, received.snapshotId);
    expect(restoredContents(restored)).toEqual(expectedContents(server));
    await expectClean(storage);
    const [snapshot] = await listSnapshots(repository);
    expect(snapshot).toMatchObject({ paths: ['/pg'], hostname: 'host', username: 'ann', tree: received.treeId });
  });
});

describe.each([
  ['threads', {}],
  ['no threads', { concurrency: 0 }],
])('a stream that is cut at fixed places by %s', (_name, how) => {
  it('stores what lies around a changed page, and nothing else', async () => {
    const storage = await newStorage();
    const bytes = noise(20_000_000, 3);
    const tree = { pg: { type: 'dir', entries: { relation: { type: 'file', bytes } } } } satisfies MemoryFolder;
    const options = { ...how, fixedChunkBytes: 500_000 };
    expect((await run(storage, options, tree)).summary).toMatchObject({ dataBlobs: 40 });
    // The last byte of one chunk and the first of the next.
    for (const at of [5_999_999, 6_000_000]) bytes[at] = (bytes[at] ?? 0) ^ 1;
    const { summary, snapshotId } = await run(storage, options, tree);
    expect(summary).toMatchObject({ dataBlobs: 2 });
    const restored = await restoreTree(await openTestRepository(storage), snapshotId);
    expect(restored.entries.get('/pg/relation')?.bytes).toEqual(bytes);
    await expectClean(storage);
  });
});

describe.each([
  ['threads', {}],
  ['no threads', { concurrency: 0 }],
])('a stream that is inspected by %s', (_name, how) => {
  const options = { ...how, fixedChunkBytes: 500_000, inspection: { module: sumInspectorModule } };
  const contentOf = (bytes: Uint8Array, subject: number, onInspected: InspectedContent['onInspected']): InspectedContent => {
    let at = 0;
    const read = async (into: Uint8Array): Promise<number> => {
      const part = bytes.subarray(at, at + into.length);
      into.set(part);
      at += part.length;
      return part.length;
    };
    return { read, subject: Uint32Array.of(subject), onInspected };
  };

  it('has told of every chunk when it is settled, be it known or not', async () => {
    const storage = await newStorage();
    const bytes = noise(20_200_000, 3);
    const [{ node }] = (await sentOf(server)).filter((sent) => sent.bytes !== undefined) as [Sent];
    const sums = Array.from({ length: 41 }, (_, nth) => [
      7,
      bytes.subarray(nth * 500_000, (nth + 1) * 500_000).reduce((sum, byte) => sum + byte, 0),
    ]);
    let told: Record<string, number[][]> = {};
    const receive = async (sink: StreamSink): Promise<void> => {
      const found: typeof told = {};
      const telling = (name: string): InspectedContent['onInspected'] => {
        return (chunks) => (found[name] = chunks.map(({ report }) => [...report]));
      };
      await sink.addFile('/pg/relation', node, contentOf(bytes, 7, telling('relation')));
      await sink.addFile('/pg/other', node, inPieces(Buffer.from('not inspected')));
      await sink.addFile('/pg/small', node, contentOf(Uint8Array.of(1, 2, 3), 8, telling('small')));
      await sink.addFile('/pg/empty', node, contentOf(new Uint8Array(), 9, telling('empty')));
      await sink.settle();
      told = { ...found };
    };
    const expected = { relation: sums, small: [[8, 6]], empty: [] };
    const { snapshotId } = await run(storage, { ...options, receive });
    expect(told).toEqual(expected);
    const restored = await restoreTree(await openTestRepository(storage), snapshotId);
    expect(restored.entries.get('/pg/relation')?.bytes).toEqual(bytes);
    told = {};
    expect((await run(storage, { ...options, receive })).summary).toMatchObject({ dataBlobs: 0 });
    expect(told).toEqual(expected);
  });

  it('fails with what the inspector throws, and with what its sender does', async () => {
    const [{ node }] = (await sentOf(server)).filter((sent) => sent.bytes !== undefined) as [Sent];
    const receiveAs = (subject: number) => async (sink: StreamSink) => {
      const onInspected = (): void => {
        throw new Error('the sum is wrong');
      };
      await sink.addFile('/pg/relation', node, contentOf(noise(2_000_000, 1), subject, onInspected));
      await sink.settle();
    };
    await expect(run(await newStorage(), { ...options, receive: receiveAs(13) })).rejects.toThrow('13 is not inspected');
    await expect(run(await newStorage(), { ...options, receive: receiveAs(1) })).rejects.toThrow('the sum is wrong');
    await expect(run(await newStorage(), { ...how, receive: receiveAs(1) })).rejects.toMatchObject({ code: 'internal' });
  });
});

describe('a stream', () => {
  it('of records is compressed as such, which changes nothing but what it takes', async () => {
    const digits = noise(6_000_000, 7);
    const rows = Array.from({ length: 40_000 }, (_, nth) => {
      const digest = Buffer.from(digits.subarray(nth * 64, nth * 64 + 64)).toString('hex');
      return `${nth}\t${digest}\tthe order was received and sent on its way\n`;
    });
    const tree: MemoryFolder = { pg: { type: 'dir', entries: { rows: { type: 'file', bytes: Buffer.from(rows.join('')) } } } };
    const storage = await newStorage();
    const files = await run(await newStorage(), {}, tree);
    const records = await run(storage, { holdsRecords: true }, tree);
    const repository = await openTestRepository(storage);
    expect(restoredContents(await restoreTree(repository, records.snapshotId))).toEqual(expectedContents(tree));
    expect(records.summary.dataAddedPacked).toBeLessThan(files.summary.dataAddedPacked);
    await expectClean(storage);
  });

  it('has the tree of a walk over the same files in the same repository', async () => {
    const storage = await newStorage();
    const walked = await archiveTree(await openTestRepository(storage), server, { pool });
    const [parent] = await listSnapshots(await openTestRepository(storage));
    if (parent === undefined) throw new Error('there is no snapshot');
    const received = await run(storage, { parent });
    expect(received.treeId).toBe(walked.treeId);
    expect(received.summary).toMatchObject({ filesUnmodified: 1504, filesNew: 0, dirsUnmodified: 5, dataBlobs: 0, treeBlobs: 0 });
    const tree = { pg: { type: 'dir', entries: { 'empty-file': { type: 'file', bytes: Buffer.from('no more') } } } } satisfies MemoryFolder;
    const changed = await run(storage, { parent }, tree);
    expect(changed.summary).toMatchObject({ filesChanged: 1, dirsChanged: 1, totalFilesProcessed: 1 });
  });

  it('makes up the folders that nobody tells of, the same each time', async () => {
    const storage = await newStorage();
    const sent = (await sentOf(server)).filter(({ node }) => node.type !== 'dir');
    const receive = async (sink: StreamSink): Promise<void> => await sendTo(sink, sent);
    const first = await run(storage, { receive });
    expect((await run(storage, { receive })).treeId).toBe(first.treeId);
    const restored = await restoreTree(await openTestRepository(storage), first.snapshotId);
    expect(restored.entries.get('/pg/base')?.node).toMatchObject({ type: 'dir', mode: 0o700 });
  });

  it('that fails in the middle leaves no snapshot, and what it had stored is found again', async () => {
    const storage = await newStorage();
    const sent = await sentOf(server);
    const receive = async (sink: StreamSink): Promise<void> => {
      for (const entry of sent) {
        if (entry.path !== '/pg/base/same') await sendTo(sink, [entry]);
        else await sink.addFile(entry.path, entry.node, failing());
      }
    };
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield noise(100, 2);
      throw new Error('the server has gone away');
    }
    await expect(run(storage, { receive })).rejects.toThrow('the server has gone away');
    expect(await listSnapshots(await openTestRepository(storage))).toEqual([]);
    await run(storage);
    await expectClean(storage);
  });

  it('is told to end when storing fails, and ends with that', async () => {
    const storage = await newStorage();
    const faulty = openFaultyStorage(storage, ({ kind, name }) => (kind === 'put' && name.startsWith('data/') ? 'before' : undefined));
    const [{ node }] = (await sentOf(server)).filter(({ bytes }) => bytes !== undefined) as [Sent];
    let told: unknown;
    const receive = async (sink: StreamSink, signal: AbortSignal): Promise<void> => {
      signal.addEventListener('abort', () => (told = signal.reason));
      for (let nth = 0; nth < 1000; nth++) {
        await sink.addFile(`/pg/${nth}`, node, inPieces(randomFillSync(new Uint8Array(1_000_000)))).catch(() => {});
      }
      throw new Error('what followed on it');
    };
    await expect(run(faulty, { receive })).rejects.toMatchObject({ code: 'storage_unreachable' });
    expect(told).toMatchObject({ code: 'storage_unreachable' });
    expect(await listSnapshots(await openTestRepository(storage))).toEqual([]);
  });

  it('ends within a second when aborted', async () => {
    const storage = await newStorage();
    const abort = new AbortController();
    let abortedAt = 0;
    const onProgress: ArchiveStreamOptions['onProgress'] = ({ bytesDone }) => {
      if (bytesDone < 5_000_000 || abortedAt > 0) return;
      abortedAt = performance.now();
      abort.abort(new Error('enough'));
    };
    await expect(run(storage, { signal: abort.signal, onProgress })).rejects.toThrow('enough');
    expect(performance.now() - abortedAt).toBeLessThan(1000);
    expect(await listSnapshots(await openTestRepository(storage))).toEqual([]);
  });

  it('waits for a storage that takes nothing', async () => {
    const storage = await newStorage();
    const gate = Promise.withResolvers<void>();
    const put = storage.put.bind(storage);
    storage.put = async (name, ...rest) => {
      if (name.startsWith('data/')) await gate.promise;
      await put(name, ...rest);
    };
    const piece = new Uint8Array(1_000_000);
    let sentBytes = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let nth = 0; nth < 300; nth++) {
        yield randomFillSync(piece);
        sentBytes += 1_000_000;
      }
    }
    const [, file] = (await sentOf(server)).filter(({ bytes }) => bytes !== undefined);
    if (file === undefined) throw new Error('there is no file');
    const done = run(storage, { receive: async (sink) => await sink.addFile('/pg/file', file.node, endless()) });
    let before = -1;
    const hasStopped = (): boolean => {
      const isSame = sentBytes === before && sentBytes > 0;
      before = sentBytes;
      return isSame;
    };
    await expect.poll(hasStopped, { timeout: 20_000, interval: 500 }).toBe(true);
    // Packs of two threads, four buffers on the way and one that is filled.
    expect(sentBytes).toBeLessThan(200_000_000);
    gate.resolve();
    const { snapshotId } = await done;
    const restored = await restoreTree(await openTestRepository(storage), snapshotId);
    expect(restored.entries.get('/pg/file')?.bytes?.length).toBe(300_000_000);
  }, 60_000);

  it.each([['relative'], ['/'], ['/a//b'], ['/a/../b'], ['/a/']])('has no path %s', async (path) => {
    const [file] = (await sentOf(server)).filter(({ bytes }) => bytes !== undefined);
    if (file === undefined) throw new Error('there is no file');
    await expect(run(await newStorage(), { receive: async (sink) => await sink.add(path, file.node) })).rejects.toMatchObject({
      code: 'internal',
    });
  });

  it('of nothing, or with the same path twice, is a mistake', async () => {
    await expect(run(await newStorage(), { receive: async () => {} })).rejects.toMatchObject({ code: 'path_not_found' });
    const sent = (await sentOf(server)).filter(({ path }) => path === '/pg/empty-file');
    const receive = async (sink: StreamSink): Promise<void> => await sendTo(sink, [...sent, ...sent]);
    await expect(run(await newStorage(), { receive })).rejects.toMatchObject({ code: 'internal' });
  });
});
