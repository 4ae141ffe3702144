import { chown, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '@holdfast/engine/clock';
import { openRepository } from '@holdfast/engine/repository';
import { withSnapshotFiles } from '@holdfast/engine/snapshot-files';
import type { WalFacts } from '@holdfast/policy/recovery-facts';
import { promote } from '@holdfast/sources/postgresql/testing/promote';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { parseWalSegmentName } from '@holdfast/sources/postgresql/wal-segment';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { expect, test } from 'vitest';
import { localServers } from '../testing/slot-keeper.ts';
import { openWalChain, type WalChain } from '../testing/wal-chain.ts';
import { openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

const segmentSizeBytes = 1024 * 1024;
const nobody = 65_534;
const limitMs = 120_000;

for (const major of testMajors) {
  test.skipIf(missingPostgres(major) !== null)(
    `what runs store of the WAL of a PostgreSQL ${major} server is what its archive_command copies, over two timelines`,
    async () => {
      const settings = { wal_keep_size: '1GB', archive_mode: 'on', archive_command: 'cp %p ../archive/%f' };
      await using server = await startTestPostgres({ major, settings, initdb: [`--wal-segsize=${segmentSizeBytes / 1024 ** 2}`] });
      const archive = join(server.folder, 'archive');
      await mkdir(archive);
      if (process.getuid?.() === 0) await chown(archive, nobody, nobody);
      await using fixture = await openWorkerFixture('postgresql');
      await fixture.startWorker({ config: localServers });
      const chain = await openWalChain(fixture, server);
      await server.query('CREATE TABLE bulk (n int, word text)');
      await chain.base();
      const runs = await someRuns(server, chain);
      await promote(server);
      runs.push(...(await someRuns(server, chain)));
      expect(runs.flatMap(({ facts }) => facts.pieces).some(({ timeline }) => timeline === 2)).toBe(true);
      expect((await chain.windows()).map(({ gaps }) => gaps)).toEqual([[], []]);
      await server.query('SELECT pg_switch_wal()');

      const whole = new Set<string>();
      for (const { id, facts } of runs) {
        for (const [name, bytes] of await walOf(fixture, id)) {
          const place = parseWalSegmentName(name, segmentSizeBytes);
          const theirs = await archived(server, archive, name);
          if (place === null) {
            expect(bytes.equals(theirs), name).toBe(true);
            continue;
          }
          expect(bytes.length).toBe(segmentSizeBytes);
          const keptBytes = bytesOf(facts, place);
          expect(keptBytes).toBeGreaterThan(0);
          expect(bytes.subarray(0, keptBytes).equals(theirs.subarray(0, keptBytes)), name).toBe(true);
          expect(bytes.subarray(keptBytes).every((byte) => byte === 0)).toBe(true);
          if (keptBytes === segmentSizeBytes) whole.add(name);
        }
      }
      // Nothing of the archive is missing, from the base backup to what was switched last.
      const first = [...whole].toSorted()[0] ?? '';
      const names = (await readdir(archive)).filter((name) => parseWalSegmentName(name, segmentSizeBytes) !== null && name >= first);
      expect(names.filter((name) => !whole.has(name)).length).toBeLessThanOrEqual(1);
      expect(whole.size).toBeGreaterThan(20);
    },
    limitMs,
  );
}

/** Runs while others write, one of them from just the end of a segment on. */
async function someRuns(server: TestPostgres, chain: WalChain) {
  const runs: Awaited<ReturnType<WalChain['wal']>>[] = [];
  for (const rows of [20_000, 90_000, 300, 90_000]) {
    const writing = server.query(`INSERT INTO bulk SELECT n, md5(n::text) FROM generate_series(1, ${rows}) n`);
    runs.push(await chain.wal());
    await writing;
    if (rows < 1_000) await server.query('SELECT pg_switch_wal()');
    runs.push(await chain.wal());
  }
  return runs;
}

/** How much of a segment a run had when it stored it; the rest is filled with zeros. */
function bytesOf({ pieces }: WalFacts, { timeline, startLsn }: { timeline: number; startLsn: bigint }): number {
  const piece = pieces.find((each) => each.timeline === timeline && each.fromLsn <= startLsn && each.toLsn > startLsn);
  return piece === undefined ? 0 : Math.min(Number(piece.toLsn - startLsn), segmentSizeBytes);
}

/** The last segment of a timeline that was left is archived under a name of its own. */
async function archived(server: TestPostgres, archive: string, name: string): Promise<Buffer> {
  const names = [name, `${name}.partial`];
  const isThere = async () => (await readdir(archive)).find((each) => names.includes(each));
  await expect.poll(isThere, { timeout: 20_000, message: `${name} in ${server.folder}` }).toBeDefined();
  return await readFile(join(archive, (await isThere()) ?? name));
}

/** `/wal` of a run's snapshot, by name. */
async function walOf(fixture: WorkerFixture, id: string): Promise<Map<string, Buffer>> {
  const { snapshotId } = await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
  const storage = await openLocalStorage({ path: join(fixture.folder, 'storage', 'repository') });
  await using repository = await openRepository({ storage, password: 'secret' });
  const who = { hostname: 'test', username: 'test', clock: systemClock };
  return await withSnapshotFiles({ ...who, repository, snapshotId: snapshotId ?? '' }, async (files) => {
    const found = new Map<string, Buffer>();
    for (const { name } of await files.list('/wal')) found.set(name, Buffer.concat(await Array.fromAsync(files.read(`/wal/${name}`))));
    return found;
  });
}
