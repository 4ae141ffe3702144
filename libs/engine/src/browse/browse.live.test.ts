import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { openStorage } from '@holdfast/storage/open-storage';
import type { Storage } from '@holdfast/storage/storage';
import { openFaultyLine } from '@holdfast/storage/testing/faulty-line';
import { startRemotePlace, type RemotePlace } from '@holdfast/storage/testing/remote-places';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRepository } from '../create-repository.ts';
import { openRepository, type Repository } from '../repository.ts';
import type { MemoryFolder } from '../testing/memory-source.ts';
import { archiveTree, cheapKdf as kdf, expectedContents, noise, text } from '../testing/test-repository.ts';
import { openSnapshotBrowser } from './snapshot-browser.ts';

const password = 'secret';
const { signal } = new AbortController();
const big = noise(40_000_000, 6);
const all = { offsetBytes: 0, lengthBytes: Number.POSITIVE_INFINITY };

const tree: MemoryFolder = {
  'big.bin': { type: 'file', bytes: big },
  folders: {
    type: 'dir',
    entries: Object.fromEntries(
      Array.from({ length: 30 }, (_, nth) => [`d${nth}`, { type: 'dir', entries: { 'x.txt': text(`${nth}`) } } as const]),
    ),
  },
};

function openAt(place: RemotePlace, port: number): Promise<Storage> {
  return openStorage(place.options(port), {
    checkPath: () => Promise.reject(new HoldfastError('path_outside_roots', 'no folder here')),
    checkServer: () => {},
    credentials: async () => place.credentials(port),
    allowAmbientCredentials: false,
  });
}

describe.each(['s3', 'sftp', 'azure_blob'] as const)('a repository at a server of %s', (kind) => {
  let place: RemotePlace;
  let snapshotId = '';
  beforeAll(async () => {
    place = await startRemotePlace(kind, { isKilled: true });
    await using repository = await createRepository({
      storage: await openAt(place, place.port),
      password,
      hostname: 'host',
      username: 'ann',
      kdf,
    });
    ({ snapshotId } = await archiveTree(repository, tree));
  });
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
  });

  const open = async (port = place.port): Promise<Repository> => openRepository({ storage: await openAt(place, port), password });

  it('is looked into as one in a folder is', async () => {
    await using repository = await open();
    await using browser = openSnapshotBrowser({ repository });
    expect((await browser.folder(snapshotId, '/folders', { limit: 100 }, signal)).entries).toHaveLength(30);
    expect((await browser.search(snapshotId, { pattern: 'x.txt', limit: 100 }, signal)).entries).toHaveLength(30);
    const walked = await Array.fromAsync(browser.walk(snapshotId, {}, signal));
    expect(new Set(walked.map(({ path }) => path))).toEqual(new Set(expectedContents(tree).keys()));
    const bytes = Buffer.concat(await Array.fromAsync(browser.read(snapshotId, '/big.bin', all, signal)));
    expect(bytes.equals(big)).toBe(true);
    const range = { offsetBytes: 12_345_678, lengthBytes: 20_000_000 };
    const part = Buffer.concat(await Array.fromAsync(browser.read(snapshotId, '/big.bin', range, signal)));
    expect(part.equals(big.subarray(12_345_678, 32_345_678))).toBe(true);
  });

  it('is read to the end when its line is cut again and again', async () => {
    await using line = await openFaultyLine(place);
    await using repository = await open(line.port);
    await using browser = openSnapshotBrowser({ repository });
    let read = 0;
    for await (const piece of browser.read(snapshotId, '/big.bin', all, signal)) {
      expect(Buffer.compare(piece, big.subarray(read, read + piece.length))).toBe(0);
      read += piece.length;
      line.strike('cut', 'down', 500_000);
    }
    expect(read).toBe(big.length);
    expect(line.counts.cuts).toBeGreaterThan(0);
  });

  it('is read to the end when its server is killed in the middle and comes back', async () => {
    await using repository = await open();
    await using browser = openSnapshotBrowser({ repository });
    const pieces = browser.read(snapshotId, '/big.bin', all, signal)[Symbol.asyncIterator]();
    const first = await pieces.next();
    await place.kill();
    const back = (async () => {
      await sleep(1_000);
      await place.start();
    })();
    const rest = await Array.fromAsync({ [Symbol.asyncIterator]: () => pieces });
    await back;
    expect(Buffer.concat([first.value ?? Buffer.alloc(0), ...rest]).equals(big)).toBe(true);
  });

  it('is left at once by a reader that goes away on a line that has stalled', async () => {
    await using line = await openFaultyLine(place);
    await using repository = await open(line.port);
    await using browser = openSnapshotBrowser({ repository });
    const leaving = new AbortController();
    const pieces = browser.read(snapshotId, '/big.bin', all, leaving.signal)[Symbol.asyncIterator]();
    await pieces.next();
    line.strike('stall', 'down', 0);
    const waiting = (async () => {
      for (;;) if ((await pieces.next()).done === true) return;
    })();
    leaving.abort(new Error('the client has gone'));
    await expect(waiting).rejects.toThrow('the client has gone');
    line.heal();
  });
});
