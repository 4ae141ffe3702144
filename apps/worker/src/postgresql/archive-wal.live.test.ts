import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@holdfast/engine/clock';
import { openOrCreateRepository } from '@holdfast/engine/create-repository';
import type { WalPlace } from '@holdfast/policy/wal-start';
import { connectDatabase, connectWire } from '@holdfast/sources/postgresql/connect';
import { missingPostgres, startTestPostgres, testMajors } from '@holdfast/sources/postgresql/testing/test-postgres';
import { createSlot, readSlotPosition } from '@holdfast/sources/postgresql/wal/replication-slot';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { expect, test } from 'vitest';
import { archiveWal } from './archive-wal.ts';

const segmentBytes = 1024n * 1024n;
const maxBytes = 4n * segmentBytes;
const slot = 'limited';

for (const major of testMajors) {
  test.skipIf(missingPostgres(major) !== null)(
    `runs of WAL of a PostgreSQL ${major} server take no more than they may, and each goes on where the last one ended`,
    async () => {
      const path = await mkdtemp(join(tmpdir(), 'holdfast-limited-'));
      await using stack = new AsyncDisposableStack();
      stack.defer(() => rm(path, { recursive: true }));
      const server = stack.use(await startTestPostgres({ major, initdb: ['--wal-segsize=1'] }));
      const { host, port, user, password } = server;
      const connection = { host, port, user, password, database: 'postgres', tls: { mode: 'disable' as const } };
      const sql = stack.use(await connectDatabase(connection));
      const openWire = () => connectWire(connection, { mode: 'replication' });
      const owner = { hostname: 'test', username: 'test', clock: systemClock };
      const storage = await openLocalStorage({ path: join(path, 'repository') });
      const repository = stack.use(await openOrCreateRepository({ ...owner, storage, password: 'secret' }));
      const start = await (async () => {
        await using wire = await openWire();
        await createSlot(wire, slot);
        return await readSlotPosition(wire, slot);
      })();
      if (start === null) throw new Error('there is no slot');
      await server.query('CREATE TABLE written AS SELECT n, md5(n::text) FROM generate_series(1, 200000) n');

      let place: WalPlace = { timeline: start.timeline, lsn: start.restartLsn };
      const runs: { fromLsn: bigint; toLsn: bigint; complete: bigint | null; lastCommit: bigint | null }[] = [];
      do {
        await using wire = await openWire();
        const storing = { ...owner, repository };
        const about = { place: 'test', configId: 'wal', baseConfigId: 'base' };
        const { facts } = await archiveWal({ storing, wire, sql, slot, place, about, nowMs: Date.now, maxBytes });
        expect(facts.pieces).toHaveLength(1);
        const [piece] = facts.pieces;
        if (piece === undefined) throw new Error('a run without WAL');
        place = { timeline: piece.timeline, lsn: piece.toLsn };
        runs.push(piece);
        await server.query('CHECKPOINT');
      } while (runs.at(-1)?.complete === null && runs.length < 50);

      expect(runs.length).toBeGreaterThan(3);
      expect(runs.slice(0, -1).every(({ complete }) => complete === null)).toBe(true);
      for (const [index, { fromLsn, toLsn }] of runs.entries()) {
        expect(toLsn - fromLsn).toBeLessThanOrEqual(maxBytes + segmentBytes);
        expect(fromLsn % segmentBytes).toBe(0n);
        const before = runs[index - 1]?.toLsn ?? fromLsn;
        expect(fromLsn).toBe(before - (before % segmentBytes));
      }
      expect(runs.at(-1)?.lastCommit).not.toBeNull();
    },
  );
}
