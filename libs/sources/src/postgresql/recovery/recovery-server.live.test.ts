import { chmod, cp, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missingPostgres, startTestPostgres, testMajors } from '../testing/test-postgres.ts';
import { committedRows, startRecoverySource, type RecoverySource } from './testing/recovery-source.ts';

const targetCount = 10;
const testLimitMs = 300_000;

describe.each(testMajors)('recovery on PostgreSQL %i', (major) => {
  const missing = missingPostgres(major);
  const name = missing ?? 'runs';
  let source: RecoverySource;
  let base: string;
  let firstRow: number;

  beforeAll(async () => {
    if (missing !== null) return;
    source = await startRecoverySource(major);
    await source.commit(20);
    base = await source.takeBase('base');
    firstRow = source.commits.length;
    await source.commit(120);
    await source.archive();
    await source.commit(60);
    await source.archive();
  }, testLimitMs);
  afterAll(() => source?.[Symbol.asyncDispose]());

  test.skipIf(missing !== null)(
    `${name}: to random places in WAL, with exactly the rows before them`,
    async () => {
      for (let index = 0; index < targetCount; index++) {
        const commit = source.commits[firstRow + Math.floor(Math.random() * (source.commits.length - firstRow - 1))];
        if (commit === undefined) throw new Error('no commit');
        await using server = await source.recover(base, { kind: 'lsn', lsn: commit.lsn, inclusive: false });
        expect(await committedRows(server)).toEqual(source.commits.slice(0, commit.row).map(({ row }) => row));
        expect(server.recovered.lsn <= commit.lsn).toBe(true);
        expect(server.recovered.timeline).toBe(2);
      }
    },
    testLimitMs,
  );

  test.skipIf(missing !== null)(
    `${name}: to random times, with exactly the rows that were committed by then`,
    async () => {
      const [first, last] = [source.commits[firstRow], source.commits.at(-1)];
      for (let index = 0; index < targetCount; index++) {
        const span = Number((last?.timeUs ?? 0n) - (first?.timeUs ?? 0n));
        const onCommit = source.commits[firstRow + Math.floor(Math.random() * 100)]?.timeUs ?? 0n;
        // Every third is the very microsecond of a commit.
        const timeUs = index % 3 === 0 ? onCommit : (first?.timeUs ?? 0n) + BigInt(Math.floor(Math.random() * span));
        const inclusive = Math.random() < 0.5;
        await using server = await source.recover(base, { kind: 'time', timeUs, inclusive });
        const expected = source.commits.filter((commit) => (inclusive ? commit.timeUs <= timeUs : commit.timeUs < timeUs));
        expect(await committedRows(server)).toEqual(expected.map(({ row }) => row));
      }
    },
    testLimitMs,
  );

  test.skipIf(missing !== null || process.getuid?.() !== 0)(
    `${name}: with programs in a folder that only root may enter, which the server's account does not become`,
    async () => {
      const closed = join(source.root, 'closed');
      await mkdir(closed, { mode: 0o700 });
      const installation = dirname(dirname(source.programs.postgres));
      // Debian's needs files of other folders, and is open to all anyway.
      if (installation.startsWith('/usr')) return;
      await cp(installation, join(closed, 'postgresql'), { recursive: true, verbatimSymlinks: true });
      const programs = { ...source.programs, postgres: join(closed, 'postgresql', 'bin', 'postgres') };
      await using server = await source.recover(base, { kind: 'end_of_wal' }, { programs });
      expect(await committedRows(server)).toHaveLength(source.commits.length);
      const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
      expect(status).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/mu);
      expect(status).toMatch(/^CapEff:\t0000000000000000$/mu);
      expect(status).toMatch(/^Groups:\t *(?:65534 *)?$/mu);
    },
    testLimitMs,
  );

  test.skipIf(missing !== null)(
    `${name}: along a timeline that a promotion began, or along the one that it left`,
    async () => {
      const fork = source.commits[firstRow + 30];
      if (fork === undefined) throw new Error('no commit');
      const walDir = join(source.root, 'wal-two');
      await cp(source.walDir, walDir, { recursive: true });
      await chmod(walDir, 0o777);
      // Kept, and no scratch: a server that goes on after its recovery, and archives where the first one did.
      const dataDir = await source.layTarget(base, { kind: 'lsn', lsn: fork.lsn, inclusive: false }, { walDir });
      const archiving = {
        archive_mode: 'on',
        archive_command: `test ! -f "${walDir}/%f" && cp "%p" "${walDir}/%f.new" && mv "${walDir}/%f.new" "${walDir}/%f"`,
      };
      const branch = await startTestPostgres({ major, dataDir, password: source.cluster.password, settings: archiving });
      try {
        const isPromoted = async (): Promise<boolean> =>
          (await branch.query<{ yes: boolean }>('SELECT NOT pg_is_in_recovery() AS yes'))[0]?.yes ?? false;
        await expect.poll(isPromoted, { timeout: 30_000 }).toBe(true);
        await branch.query('INSERT INTO committed SELECT g FROM generate_series(10001, 10010) g');
        const [switched] = await branch.query<{ name: string }>('SELECT pg_walfile_name(pg_switch_wal()) AS name');
        await expect.poll(() => readdir(walDir), { timeout: 30_000 }).toEqual(expect.arrayContaining([switched?.name, '00000002.history']));
      } finally {
        await branch[Symbol.asyncDispose]();
        await rm(dataDir, { recursive: true });
      }
      const before = source.commits.slice(0, fork.row).map(({ row }) => row);
      await using second = await source.recover(base, { kind: 'end_of_wal' }, { walDir, timeline: 2 });
      expect(await committedRows(second)).toEqual([...before, ...Array.from({ length: 10 }, (_, index) => 10_001 + index)]);
      expect(second.recovered.timeline).toBe(3);
      await using first = await source.recover(base, { kind: 'end_of_wal' }, { walDir, timeline: 1 });
      expect(await committedRows(first)).toEqual(source.commits.map(({ row }) => row));
      await expect(source.recover(base, { kind: 'end_of_wal' }, { walDir, timeline: 4 })).rejects.toMatchObject({
        code: 'postgresql_wal_missing',
      });
    },
    testLimitMs,
  );
});
