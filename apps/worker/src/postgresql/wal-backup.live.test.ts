import { chainsOf } from '@holdfast/policy/recovery-facts';
import { recoveryWindows } from '@holdfast/policy/recovery-window';
import { factsOfRows } from '@holdfast/policy/wal-start';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { missingPostgres, startTestPostgres, testMajors } from '@holdfast/sources/postgresql/testing/test-postgres';
import { listChainBackups } from '@holdfast/database/chain-backups';
import { expect, test } from 'vitest';
import { isFinal, openWorkerFixture } from '../testing/worker-fixture.ts';

for (const major of testMajors) {
  test.skipIf(missingPostgres(major) !== null)(`WAL of a PostgreSQL ${major} follows its base without a gap`, async () => {
    await using server = await startTestPostgres({ major, settings: { wal_keep_size: '1GB' } });
    await using fixture = await openWorkerFixture('postgresql');
    await fixture.startWorker({ config: { databaseHosts: parseAllowedHosts('127.0.0.1') } });
    const { host, port, user, password } = server;
    const connection = { host, port, user, database: 'postgres', tls: { mode: 'disable' as const } };
    const baseConfigId = await fixture.createConfig({
      name: 'base',
      backupType: 'database_full',
      source: { type: 'postgresql', method: 'physical', connection },
      sourcePassword: { place: connectionPlace(connection), password },
    });
    const source = { type: 'postgresql_wal', baseConfigId, method: 'wal' };
    const walConfigId = await fixture.createConfig({ name: 'wal', backupType: 'database_incremental', source });
    const rows = fixture.database.db.client;
    const backUp = async () => fixture.eventually('backup', await fixture.submitBackup(walConfigId), isFinal, 30_000);
    expect(await backUp()).toMatchObject({ status: 'failed', errorCode: 'postgresql_wal_lost' });

    expect(await fixture.eventually('backup', await fixture.submitBackup(baseConfigId), isFinal, 30_000)).toMatchObject({
      status: 'completed',
    });
    const [base] = factsOfRows(await listChainBackups(rows, baseConfigId));
    const baseEnd = base?.facts.kind === 'base' ? base.facts.endLsn : -1n;
    expect(baseEnd).toBeGreaterThan(0n);

    for (let round = 0; round < 3; round++) {
      await server.query(`CREATE TABLE t${round} AS SELECT md5(n::text) FROM generate_series(1, 200000) n`);
      expect(await backUp()).toMatchObject({ status: 'completed', errorMessage: null });
    }
    const backups = factsOfRows(await listChainBackups(rows, baseConfigId));
    const chains = chainsOf(backups);
    const [window] = chains === null ? [] : recoveryWindows(chains);
    expect(window).toMatchObject({ timeline: 1, gaps: [] });
    expect(window?.toLsn).toBeGreaterThan(baseEnd + 16n * 1024n * 1024n);
    expect(backups).toHaveLength(4);
    const [slot] = await server.query(`SELECT restart_lsn - '0/0' AS lsn FROM pg_replication_slots`);
    expect(BigInt(slot?.['lsn'] ?? 0)).toBeGreaterThan(baseEnd);
  });
}
