import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parseLsn, type Lsn } from '../lsn.ts';
import { missingPostgres, testMajors } from '../testing/test-postgres.ts';
import { parseBackupLabel } from './backup-label.ts';
import { inspectProcess } from './running-process.ts';
import { endOrphanServers } from './server-folder.ts';
import { committedRows, startRecoverySource, type RecoverySource } from './testing/recovery-source.ts';

const testLimitMs = 120_000;
const secondUs = 1_000_000n;

/** Processes of this machine that were started for something below the folder: [pid, command line]. */
async function processesBelow(folder: string): Promise<[number, string][]> {
  const found: [number, string][] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/u.test(name))) {
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (commandLine.includes(folder)) found.push([Number(pid), commandLine.replaceAll('\0', ' ')]);
  }
  return found;
}

describe.each(testMajors)('a recovery that cannot be, on PostgreSQL %i', (major) => {
  const missing = missingPostgres(major);
  const name = missing ?? 'it';
  let source: RecoverySource;
  let base: string;
  let lastLsn: Lsn;

  beforeAll(async () => {
    if (missing !== null) return;
    source = await startRecoverySource(major);
    await source.commit(5);
    base = await source.takeBase('base');
    await source.archive();
    await source.commit(10);
    await source.archive();
    await source.commit(10);
    lastLsn = parseLsn((await source.cluster.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn() AS lsn'))[0]?.lsn ?? '');
    await source.archive();
  }, testLimitMs);
  afterAll(() => source?.[Symbol.asyncDispose]());
  /** Whatever was refused: no server runs, and nothing of one is left. */
  afterEach(async () => {
    if (missing !== null) return;
    expect((await processesBelow(source.scratchRoot)).map(([, line]) => line)).toEqual([]);
    expect((await readdir(source.scratchRoot)).filter((each) => each.startsWith('recovery-'))).toEqual([]);
    expect((await processesBelow(join(source.root, 'target-'))).map(([, line]) => line)).toEqual([]);
    expect((await readdir(source.root)).filter((each) => each.startsWith('target-'))).toEqual([]);
  });

  /** The archive without the segments that `isLost` names; the `index`th is the one of the base's start. */
  async function archiveWithout(folder: string, isLost: (index: number) => boolean): Promise<string> {
    const walDir = join(source.root, folder);
    await cp(source.walDir, walDir, { recursive: true });
    const { startLsn } = parseBackupLabel(await readFile(join(base, 'backup_label'), 'utf8'));
    const first = startLsn / (16n * 1024n * 1024n);
    for (const segment of (await readdir(walDir)).filter((each) => /^[0-9A-F]{24}$/u.test(each))) {
      const number = BigInt(`0x${segment.slice(8, 16)}`) * 256n + BigInt(`0x${segment.slice(16)}`);
      if (isLost(Number(number - first))) await rm(join(walDir, segment));
    }
    return walDir;
  }

  test.skipIf(missing !== null)(`${name} fails clearly for a place that WAL does not reach`, async () => {
    const stop = { kind: 'lsn', lsn: lastLsn + 0x1_0000_0000n, inclusive: true } as const;
    const failure = source.recover(base, stop);
    await expect(failure).rejects.toMatchObject({ code: 'postgresql_target_uncovered' });
    await expect(failure).rejects.toThrow(/WAL ends before the recovery target; the server said: FATAL: recovery ended/u);
  });

  test.skipIf(missing !== null)(`${name} fails clearly for a time after the last commit`, async () => {
    const timeUs = (source.commits.at(-1)?.timeUs ?? 0n) + 3_600n * secondUs;
    await expect(source.recover(base, { kind: 'time', timeUs, inclusive: true })).rejects.toMatchObject({
      code: 'postgresql_target_uncovered',
    });
  });

  test.skipIf(missing !== null)(`${name} fails clearly for a place before the end of the base`, async () => {
    const { startLsn } = parseBackupLabel(await readFile(join(base, 'backup_label'), 'utf8'));
    const failure = source.recover(base, { kind: 'lsn', lsn: startLsn + 1n, inclusive: true });
    await expect(failure).rejects.toMatchObject({ code: 'postgresql_target_uncovered' });
    await expect(failure).rejects.toThrow(/before the end of the base backup/u);
  });

  test.skipIf(missing !== null)(`${name} fails clearly for a restore point that nobody made`, async () => {
    await expect(source.recover(base, { kind: 'name', name: 'never' })).rejects.toMatchObject({ code: 'postgresql_target_uncovered' });
  });

  test.skipIf(missing !== null)(`${name} fails clearly without the WAL that the base begins with`, async () => {
    const walDir = await archiveWithout('wal-no-start', (index) => index >= 0);
    await expect(source.recover(base, { kind: 'end_of_wal' }, { walDir })).rejects.toMatchObject({ code: 'postgresql_wal_missing' });
  });

  test.skipIf(missing !== null)(`${name} does not believe a server that found less WAL than there was`, async () => {
    const walDir = await archiveWithout('wal-no-end', (index) => index >= 1);
    await using early = await source.recover(base, { kind: 'end_of_wal' }, { walDir });
    expect((await committedRows(early)).length).toBeLessThan(source.commits.length);
    await expect(source.recover(base, { kind: 'end_of_wal' }, { walDir, leastLsn: lastLsn })).rejects.toMatchObject({
      code: 'postgresql_wal_missing',
    });
  });

  test.skipIf(missing !== null)(`${name} gives all there is to the end of WAL`, async () => {
    await using server = await source.recover(base, { kind: 'end_of_wal' }, { leastLsn: lastLsn });
    expect(await committedRows(server)).toEqual(source.commits.map(({ row }) => row));
    expect(server.recovered.lastCommit).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00$/u);
  });

  /** An archive whose first segment is a pipe that nobody writes to: a recovery from it never comes on. */
  async function stuckArchive(folder: string): Promise<string> {
    const walDir = await archiveWithout(folder, (index) => index >= 0);
    const label = await readFile(join(base, 'backup_label'), 'utf8');
    await promisify(execFile)('mkfifo', [join(walDir, /\(file ([0-9A-F]{24})\)/u.exec(label)?.[1] ?? '')]);
    return walDir;
  }

  test.skipIf(missing !== null)(`${name} ends with its deadline`, async () => {
    const walDir = await stuckArchive('wal-late');
    const late = source.recover(base, { kind: 'end_of_wal' }, { walDir, recoveryTimeoutMs: 500 });
    await expect(late).rejects.toMatchObject({ code: 'postgresql_recovery_failed' });
    await expect(late).rejects.toThrow(/in the time that it was given/u);
    expect(await processesBelow(walDir)).toEqual([]);
  });

  test.skipIf(missing !== null)(`${name} ends when it is called off`, async () => {
    const walDir = await stuckArchive('wal-called-off');
    const calledOff = new AbortController();
    const recovery = source.recover(base, { kind: 'end_of_wal' }, { walDir, signal: calledOff.signal });
    // The command that waits at the pipe.
    const waits = async (): Promise<number> => (await processesBelow(`${walDir}/`)).length;
    const callOff = async (): Promise<void> => {
      await expect.poll(waits, { timeout: 20_000 }).toBeGreaterThan(0);
      calledOff.abort(new Error('called off'));
    };
    await Promise.all([expect(recovery).rejects.toThrow('called off'), callOff()]);
    expect(await processesBelow(walDir)).toEqual([]);
  });

  test.skipIf(missing !== null)(`${name} ends a server that runs already when it is called off`, async () => {
    const calledOff = new AbortController();
    const server = await source.recover(base, { kind: 'end_of_wal' }, { signal: calledOff.signal });
    calledOff.abort();
    await server.stop();
    expect(await inspectProcess(server.pid)).toBeNull();
  });

  test.skipIf(missing !== null)(`${name} says who cannot be asked`, async () => {
    await expect(source.recover(base, { kind: 'end_of_wal' }, { superuser: 'nobody_here' })).rejects.toThrow(
      /cannot be asked: role "nobody_here" does not exist/u,
    );
  });

  /** A process that recovers as a worker does, and waits. */
  async function startWorker(): Promise<ChildProcess> {
    const dataDir = join(source.root, 'target-worker');
    const program = `
      import { startRecoveryServer } from ${JSON.stringify(import.meta.resolve('./recovery-server.ts'))};
      import { finishPhysicalTarget, preparePhysicalTarget } from ${JSON.stringify(import.meta.resolve('./physical-target.ts'))};
      import { serverAccount } from ${JSON.stringify(import.meta.resolve('./server-account.ts'))};
      import { cp } from 'node:fs/promises';
      const { root, walDir, base, dataDir, scratchRoot, programs } = JSON.parse(process.env.GIVEN);
      const target = await preparePhysicalTarget({
        dataDir, walDir, roots: [root], stop: { kind: 'end_of_wal' }, timeline: 1, action: 'promote', owner: serverAccount() });
      await cp(base, dataDir, { recursive: true });
      await finishPhysicalTarget(target);
      await startRecoveryServer({ dataDir, scratchRoot, programs, superuser: 'postgres', isScratch: true,
        recoveryTimeoutMs: 60_000, signal: new AbortController().signal });
      console.log('runs');
      setInterval(() => undefined, 1_000);
    `;
    const { root, walDir, scratchRoot, programs } = source;
    const env = { ...process.env, GIVEN: JSON.stringify({ root, walDir, base, dataDir, scratchRoot, programs }) };
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    return child;
  }

  const servers = async (): Promise<number[]> =>
    (await processesBelow(join(source.root, 'target-worker'))).filter(([, line]) => line.includes('postgres -D')).map(([pid]) => pid);

  test.skipIf(missing !== null)(`${name} leaves no server when its process is killed`, async () => {
    const worker = await startWorker();
    expect(await servers()).toHaveLength(1);
    // While its starter lives it is nobody's to end.
    expect(await endOrphanServers(source.scratchRoot)).toEqual([]);
    expect(await servers()).toHaveLength(1);
    worker.kill('SIGKILL');
    await expect.poll(servers, { timeout: 10_000 }).toEqual([]);
    expect(await endOrphanServers(source.scratchRoot)).toEqual([join(source.root, 'target-worker')]);
  });

  test.skipIf(missing !== null)(`${name} is ended by the next start when its watcher was killed too`, async () => {
    const worker = await startWorker();
    for (const [pid, line] of await processesBelow(join(source.root, 'target-worker')))
      if (line.startsWith('sh -c')) process.kill(pid, 'SIGKILL');
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    await delay(300);
    expect(await servers()).toHaveLength(1);
    expect(await endOrphanServers(source.scratchRoot)).toEqual([join(source.root, 'target-worker')]);
    expect(await servers()).toEqual([]);
  });

  test.skipIf(missing !== null)(`${name} is not ended for another machine`, async () => {
    const folder = join(source.scratchRoot, 'recovery-elsewhere');
    await mkdir(folder, { recursive: true });
    const record = {
      host: 'elsewhere',
      starterPid: 1,
      starterBegan: '',
      dataDir: '/nowhere',
      socketDir: '/nowhere',
      removeDataDir: true,
      serverPid: null,
    };
    await writeFile(join(folder, 'server.json'), JSON.stringify(record));
    expect(await endOrphanServers(source.scratchRoot)).toEqual([]);
    await rm(folder, { recursive: true });
  });
});
