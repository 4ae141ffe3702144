import { execFile } from 'node:child_process';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { listChainBackups } from '@holdfast/database/chain-backups';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { chainsOf, factsOf, type WalFacts } from '@holdfast/policy/recovery-facts';
import type { PointInTime } from '@holdfast/policy/recovery-request';
import { recoveryWindows, type RecoveryWindow } from '@holdfast/policy/recovery-window';
import { factsOfRows } from '@holdfast/policy/wal-start';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { startTestPostgres, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { expect } from 'vitest';
import { isFinal, type RunRow, type WorkerFixture } from './worker-fixture.ts';

/** A server's base backups and WAL, by configs of their own and whatever workers the fixture has. */
export interface WalChain {
  readonly baseConfigId: string;
  readonly walConfigId: string;
  /** A run and how it ended. */
  backUp(which: 'base' | 'wal'): Promise<RunRow & { readonly id: string }>;
  /** A run that has to complete; gives the job's id. */
  base(): Promise<string>;
  /** A run that has to complete. */
  wal(): Promise<{ readonly id: string; readonly facts: WalFacts }>;
  windows(): Promise<RecoveryWindow[]>;
  /** Into `<fixture>/target/<name>`; to the backup's own end without a point in time. */
  recover(
    backupJobId: string,
    name: string,
    options?: RecoverOptions,
  ): Promise<RunRow & { readonly dataDir: string; readonly job: RecoveryJob }>;
}

interface RecoverOptions {
  readonly pointInTime?: PointInTime;
  readonly start?: boolean;
}

type RecoveryJob = Awaited<ReturnType<WorkerFixture['database']['db']['client']['recoveryJob']['findUniqueOrThrow']>>;

const runLimitMs = 120_000;
const nobody = 65_534;

/** `place`: where the worker finds the server, when not where it is; `wal`: more of the WAL config's source. */
export async function openWalChain(
  fixture: WorkerFixture,
  server: TestPostgres,
  { place = server, wal = {} }: { place?: { host: string; port: number }; wal?: object } = {},
): Promise<WalChain> {
  const { client } = fixture.database.db;
  const connection = { host: place.host, port: place.port, user: server.user, database: 'postgres', tls: { mode: 'disable' as const } };
  const baseConfigId = await fixture.createConfig({
    name: 'base',
    backupType: 'database_full',
    source: { type: 'postgresql', method: 'physical', connection },
    sourcePassword: { place: connectionPlace(connection), password: server.password },
    encryptionKey: 'secret',
  });
  const walConfigId = await fixture.createConfig({
    name: 'wal',
    backupType: 'database_incremental',
    source: { type: 'postgresql_wal', method: 'wal', baseConfigId, ...wal },
    encryptionKey: 'secret',
  });
  // The account that runs a recovered server has to pass.
  await mkdir(join(fixture.folder, 'scratch'), { recursive: true });
  for (const name of ['', 'target', 'scratch']) await chmod(join(fixture.folder, name), 0o711);

  const backUp = async (which: 'base' | 'wal') => {
    const id = await fixture.submitBackup(which === 'base' ? baseConfigId : walConfigId);
    return { id, ...(await fixture.eventually('backup', id, isFinal, runLimitMs)) };
  };
  const completed = async (which: 'base' | 'wal'): Promise<string> => {
    const { id, ...row } = await backUp(which);
    expect(row).toMatchObject({ status: 'completed', errorMessage: null });
    return id;
  };
  return {
    baseConfigId,
    walConfigId,
    backUp,
    base: () => completed('base'),
    async wal() {
      const id = await completed('wal');
      const { metadata } = await client.backupJob.findUniqueOrThrow({ where: { id } });
      const facts = factsOf(metadata);
      if (facts?.kind !== 'wal') throw new Error(`job ${id} says nothing of WAL`);
      return { id, facts };
    },
    async windows() {
      const chains = chainsOf(factsOfRows(await listChainBackups(client, baseConfigId)));
      return chains === null ? [] : recoveryWindows(chains);
    },
    async recover(backupJobId, name, { pointInTime, start = false } = {}) {
      const dataDir = join(fixture.folder, 'target', name);
      const options = { overwrite: false, start, ...(pointInTime === undefined ? {} : { pointInTime: { ...pointInTime } }) };
      const recoveryType = pointInTime === undefined ? 'full' : 'point_in_time';
      const input = { backupJobId, recoveryType, targetLocation: dataDir, options, execute: true } as const;
      const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', input));
      await fixture.queues.enqueueRun('recovery', id);
      const row = await fixture.eventually('recovery', id, isFinal, runLimitMs);
      return { ...row, dataDir, job: await client.recoveryJob.findUniqueOrThrow({ where: { id } }) };
    },
  };
}

/** Starts a server on a data folder of a recovery, which recovers first when it has not yet, and asks it once it is promoted. */
export async function askRecovered<Row extends object>(dataDir: string, of: TestPostgres, sql: string): Promise<Row[]> {
  if (process.getuid?.() === 0) await promisify(execFile)('chown', ['-R', `${nobody}:${nobody}`, `${dataDir}-wal`]);
  await using copy = await startTestPostgres({ major: of.major, dataDir, password: of.password });
  const isPromoted = async () => (await copy.query<{ yes: boolean }>('SELECT NOT pg_is_in_recovery() AS yes'))[0]?.yes;
  await expect.poll(isPromoted, { timeout: 20_000 }).toBe(true);
  return (await copy.query(sql)) as unknown as Row[];
}

/** The server's clock, as facts and requests have it. */
export async function serverTime(server: TestPostgres): Promise<string> {
  const [row] = await server.query<{ now: string }>(
    `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS now`,
  );
  if (row === undefined) throw new Error('the server does not tell its time');
  return row.now;
}
