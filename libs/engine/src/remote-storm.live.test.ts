import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { openStorage, type OpenStorageDeps } from '@holdfast/storage/open-storage';
import type { Storage } from '@holdfast/storage/storage';
import type { RemoteStorageOptions } from '@holdfast/storage/storage-options';
import { type LineDirection, type LineFault, openFaultyLine } from '@holdfast/storage/testing/faulty-line';
import { openFtpLine } from '@holdfast/storage/testing/ftp-line';
import { remoteKinds, startRemotePlace, type RemotePlace } from '@holdfast/storage/testing/remote-places';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { createRepository } from './create-repository.ts';
import { openRepository, type Repository } from './repository.ts';
import { listSnapshots } from './snapshots.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import { findStockRestics } from './testing/stock-restic.ts';
import { archiveTree, cheapKdf as kdf, expectedContents, noise, restoredContents, restoreTree, text } from './testing/test-repository.ts';

/** STORM_ROUNDS for a longer one. Each is a backup and a restore. */
const roundCount = Number(process.env['STORM_ROUNDS'] ?? 8);
/** Of the storm alone: Pure-FTPd keeps whoever gives a wrong password waiting for longer. */
const stormIdleTimeoutMs = 2_000;
/** What one round may take, with its faults: what takes longer hangs. */
const roundLimitMs = 60_000;
/** What passes on a control connection of FTP in a round, and with the others where they begin. */
const controlReachBytes = 2_000;
/** A lock has more. */
const smallObjectBytes = 100;
const password = 'secret';

interface Storm {
  completed: number;
  failed: number;
  retries: number;
}

describe.each(remoteKinds)('a storm of faults on the line to %s', (kind) => {
  let place: RemotePlace;
  let line: StormyLine;
  let folder = '';
  beforeAll(async () => {
    place = await startRemotePlace(kind);
    line = await openStormyLine(place);
    folder = await mkdtemp(`${tmpdir()}/holdfast-storm-`);
  });
  afterAll(async () => {
    await line?.[Symbol.asyncDispose]();
    await place?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  it(`costs time and no data: ${String(roundCount)} backups and restores`, { timeout: roundCount * roundLimitMs }, async () => {
    const storm: Storm = { completed: 0, failed: 0, retries: 0 };
    const open = (): Promise<Storage> =>
      openAt(place, line.port, {
        options: line.options,
        onRetry: () => void (storm.retries += 1),
        idleTimeoutMs: stormIdleTimeoutMs,
      });
    await (await createRepository({ storage: await open(), password, hostname: 'host', username: 'ann', kdf })).close();

    const random = seeded(kind.length);
    for (let round = 0; round < roundCount; round++) {
      const tree = treeOf(round);
      const signal = AbortSignal.timeout(roundLimitMs);
      strikeAtRandom(line, random);
      try {
        await using repository = await openRepository({ storage: await open(), password, signal });
        const { snapshotId } = await archiveTree(repository, tree, { signal });
        expect(restoredContents(await restoreTree(repository, snapshotId))).toEqual(expectedContents(tree));
        storm.completed++;
      } catch (error) {
        // Longer out of reach than it is waited for: a job would be tried again.
        if (!isHoldfastError(error, 'storage_unreachable')) throw error;
        storm.failed++;
      } finally {
        line.heal();
      }
    }
    const { cuts, stalls } = line.struck();
    const { retries, completed, failed } = storm;
    process.stdout.write(`${kind}: ${cuts} cuts, ${stalls} stalls, ${retries} retries, ${completed} completed, ${failed} failed\n`);
    expect(cuts + stalls).toBeGreaterThanOrEqual(roundCount);
    expect(storm.completed).toBeGreaterThan(0);
    await using repository = await openRepository({ storage: await openAt(place, place.port), password });
    await assertWhole(repository, folder, storm.completed);
  });

  it('has a backup fail by its own code when the key is a wrong one', async () => {
    const storage = await openAt({ ...place, credentials: () => place.wrongCredentials }, place.port);
    await expect(openRepository({ storage, password })).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_denied'));
    await storage.close();
  });
});

describe.each(remoteKinds)('a server of %s that is killed in the middle of a backup', (kind) => {
  it('is waited for, and everything is there when it is back', async () => {
    await using place = await startRemotePlace(kind, { isKilled: true });
    const folder = await mkdtemp(`${tmpdir()}/holdfast-storm-`);
    try {
      let retries = 0;
      const storage = await openAt(place, place.port, { onRetry: () => void (retries += 1) });
      await using repository = await createRepository({ storage, password, hostname: 'host', username: 'ann', kdf });
      const tree = treeOf(1);
      const underWay = Promise.withResolvers<void>();
      const away = (async () => {
        await underWay.promise;
        await place.kill();
        await sleep(1_000);
        await place.start();
      })();
      const { snapshotId } = await archiveTree(repository, tree, {
        onProgress: ({ bytesDone }) => {
          if (bytesDone > 3_000_000) underWay.resolve();
        },
      });
      underWay.resolve();
      await away;
      expect(restoredContents(await restoreTree(repository, snapshotId))).toEqual(expectedContents(tree));
      expect(retries).toBeGreaterThan(0);
      await assertWhole(repository, folder, 1);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

function openAt(
  place: Pick<RemotePlace, 'options' | 'credentials'>,
  port: number,
  {
    options = place.options(port),
    ...more
  }: Pick<OpenStorageDeps, 'onRetry' | 'idleTimeoutMs'> & { readonly options?: RemoteStorageOptions } = {},
): Promise<Storage> {
  return openStorage(options, {
    checkPath: () => Promise.reject(new HoldfastError('path_outside_roots', 'no folder here')),
    checkServer: () => {},
    credentials: async () => place.credentials(port),
    allowAmbientCredentials: false,
    ...more,
  });
}

/** A line of which every byte can be struck. */
interface StormyLine extends AsyncDisposable {
  readonly options: RemoteStorageOptions;
  readonly port: number;
  strike(fault: LineFault, direction: LineDirection, afterBytes: number): void;
  heal(): void;
  struck(): { readonly cuts: number; readonly stalls: number };
}

async function openStormyLine(place: RemotePlace): Promise<StormyLine> {
  const server = place.options();
  if (server.type !== 'ftp') {
    const line = await openFaultyLine(place);
    const { port, strike, heal } = line;
    return {
      port,
      strike,
      heal,
      options: place.options(port),
      struck: () => line.counts,
      [Symbol.asyncDispose]: () => line[Symbol.asyncDispose](),
    };
  }
  // The bytes of files go over connections of their own, which the line has to see coming: not through TLS.
  const line = await openFtpLine(place);
  return {
    port: line.port,
    options: { ...server, port: line.port, tls: 'none' },
    strike(fault, direction, afterBytes) {
      if (afterBytes < controlReachBytes) line.control.strike(fault, direction, afterBytes);
      // Each is for one connection, which carries one object or listing one way, and most are small.
      else for (const either of ['up', 'down'] as const) line.strikeData(fault, either, afterBytes % smallObjectBytes);
    },
    heal: () => line.control.heal(),
    struck: () => line.struck(),
    [Symbol.asyncDispose]: async () => line[Symbol.asyncDispose](),
  };
}

/** Much of it is new each time, so that there is something to carry. */
function treeOf(round: number): MemoryFolder {
  const entries: Record<string, MemoryFolder[string]> = { own: text(`round ${round}`) };
  for (let nth = 0; nth < 8; nth++) entries[`file-${nth}`] = { type: 'file', bytes: noise(900_000, nth < 5 ? round * 8 + nth : nth) };
  return { data: { type: 'dir', entries } };
}

/** Some among the first bytes, where connections begin, some in the middle of packs. */
function strikeAtRandom(line: StormyLine, random: () => number): void {
  const count = 1 + Math.floor(random() * 3);
  for (let nth = 0; nth < count; nth++) {
    const reach = random() < 0.3 ? controlReachBytes : 1_500_000;
    line.strike(random() < 0.15 ? 'stall' : 'cut', random() < 0.5 ? 'up' : 'down', Math.floor(random() * reach));
  }
}

/** No damage by our word and by restic's, and every snapshot that was told of is there. */
async function assertWhole(repository: Repository, folder: string, snapshotCount: number): Promise<void> {
  const { findings } = await check({ repository, level: 'integrity' });
  expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
  expect((await listSnapshots(repository)).length).toBeGreaterThanOrEqual(snapshotCount);
  const copy = await openLocalStorage({ path: folder });
  for await (const { name } of repository.storage.list('')) {
    if (!name.startsWith('locks/')) await copy.put(name, await repository.storage.get(name));
  }
  for (const restic of (await findStockRestics()).found) await restic.run(folder, ['check', '--read-data', '--no-lock'], { password });
}

/** Mulberry32: the same faults in each run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
