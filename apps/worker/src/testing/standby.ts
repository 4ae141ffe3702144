import { appendFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTestPostgres, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { expect } from 'vitest';

/** Makes a standby out of what a base backup was recovered to, and starts it. */
export async function startStandby(primary: TestPostgres, dataDir: string): Promise<TestPostgres> {
  const { host, port, user, password, major } = primary;
  await rm(join(dataDir, 'recovery.signal'));
  await writeFile(join(dataDir, 'standby.signal'), '');
  const settings = {
    primary_conninfo: `host=${host} port=${port} user=${user} password=${password}`,
    recovery_target: '',
    recovery_target_timeline: 'latest',
    restore_command: '',
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'\n`);
  await appendFile(join(dataDir, 'postgresql.auto.conf'), lines.join(''));
  return await startTestPostgres({ major, dataDir, password });
}

/** Waits until the standby has replayed all that the primary has. */
export async function caughtUp(primary: TestPostgres, standby: TestPostgres): Promise<void> {
  const [{ lsn } = { lsn: '' }] = await primary.query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
  const isThere = async () => (await standby.query<{ yes: boolean }>(`SELECT pg_last_wal_replay_lsn() >= '${lsn}' AS yes`))[0]?.yes;
  await expect.poll(isThere, { timeout: 20_000 }).toBe(true);
}

/** From now on it hears nothing more of its primary. */
export async function cutOff(standby: TestPostgres): Promise<void> {
  await standby.query("ALTER SYSTEM SET primary_conninfo = ''");
  await standby.query('SELECT pg_reload_conf()');
  await expect.poll(() => standby.query('SELECT pid::text FROM pg_stat_wal_receiver'), { timeout: 10_000 }).toEqual([]);
}
