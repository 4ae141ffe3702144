import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { missingPostgres, testMajors } from '../testing/test-postgres.ts';
import { runRestoreTest, type RestoreTestOptions } from './restore-test.ts';
import { startRecoverySource, type RecoverySource } from './testing/recovery-source.ts';

const testLimitMs = 120_000;
const laidBytes = 4711;

describe.each(testMajors)('a restore test of PostgreSQL %i', (major) => {
  const missing = missingPostgres(major);
  const name = missing ?? 'it';
  let source: RecoverySource;
  let options: RestoreTestOptions;

  beforeAll(async () => {
    if (missing !== null) return;
    source = await startRecoverySource(major);
    const base = await source.takeBase('base');
    await source.commit(30);
    await source.archive();
    options = {
      scratchRoot: source.scratchRoot,
      majorVersion: major,
      stop: { kind: 'end_of_wal' },
      timeline: 1,
      superuser: 'postgres',
      lay: async ({ dataDir, walDir }) => {
        await promisify(execFile)('cp', ['-a', `${base}/.`, dataDir]);
        await promisify(execFile)('cp', ['-a', `${source.walDir}/.`, walDir]);
        return laidBytes;
      },
      recoveryTimeoutMs: 60_000,
      inspection: { exactRowLimit: 1_000_000, statementTimeoutMs: 30_000, totalTimeoutMs: 60_000, assertions: [] },
      signal: new AbortController().signal,
    };
  }, testLimitMs);
  afterAll(() => source?.[Symbol.asyncDispose]());
  /** Only a copy of the server's programs may be kept for the next. */
  afterEach(async () => {
    if (missing !== null) return;
    expect((await readdir(source.scratchRoot)).filter((each) => !each.startsWith('postgresql-'))).toEqual([]);
  });

  test.skipIf(missing !== null)(`${name} gives what was found, and leaves nothing`, async () => {
    const assertions = [{ name: 'all rows', database: 'postgres', sql: 'SELECT count(*) FROM committed', expected: 30 }];
    const result = await runRestoreTest({ ...options, inspection: { ...options.inspection, assertions } });
    expect(result.inspection.findings).toEqual([]);
    expect(result.inspection.assertions[0]?.hasPassed).toBe(true);
    expect(result.laidBytes).toBe(laidBytes);
    expect(result.restoreMs).toBeGreaterThan(result.recovered.durationMs);
  });

  test.skipIf(missing !== null)(`${name} leaves nothing when its files cannot be laid, or not recovered, or it is called off`, async () => {
    const lay = (): Promise<number> => Promise.reject(new Error('the repository is gone'));
    await expect(runRestoreTest({ ...options, lay })).rejects.toThrow('the repository is gone');
    const stop = { kind: 'name', name: 'never' } as const;
    await expect(runRestoreTest({ ...options, stop })).rejects.toMatchObject({ code: 'postgresql_target_uncovered' });
    const calledOff = new AbortController();
    const laid = options.lay;
    const layAndCallOff: typeof laid = async (places) => {
      const bytes = await laid(places);
      setTimeout(() => calledOff.abort(new Error('called off')), 200);
      return bytes;
    };
    await expect(runRestoreTest({ ...options, lay: layAndCallOff, signal: calledOff.signal })).rejects.toThrow('called off');
  });

  test.skipIf(missing !== null)(`${name} is refused without a server of the version, before anything is written`, async () => {
    const refused = runRestoreTest({ ...options, majorVersion: 9 });
    await expect(refused).rejects.toMatchObject({ code: 'postgresql_tool_missing' });
    await expect(refused).rejects.toThrow(/no server of PostgreSQL 9 is installed at the worker; there is 1/u);
  });
});
