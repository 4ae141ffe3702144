import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.ts';
import { appendEvent, latestSequence } from './events.ts';
import { inTransaction } from './in-transaction.ts';
import { migrate } from './migrate.ts';
import { openDatabase } from './open-database.ts';
import { inspectProcess, signalProcess } from './postgres-process.ts';

let base: string;
let dataDir: string;
const logged: string[] = [];
const start = (more: { port?: number } = {}): Promise<EmbeddedPostgres> =>
  startEmbeddedPostgres({ dataDir, log: (message) => logged.push(message), ...more });

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'holdfast-embedded-'));
  // mkdtemp makes a folder that only its owner may enter, so this is the hard case.
  dataDir = join(base, 'postgres');
  logged.length = 0;
});
afterEach(() => rm(base, { recursive: true }));

async function query(url: string, sql: string): Promise<unknown> {
  await using db = await openDatabase({ url, applicationName: 'test', poolSize: 1 });
  return await db.client.$queryRawUnsafe(sql);
}

test('starts below a closed folder, keeps password and port, stops and starts again', async () => {
  const first = await start();
  await query(first.url, 'CREATE TABLE kept (id int)');
  await first.stop();
  await first.stop();
  expect(await inspectProcess(first.pid)).toBeNull();
  expect((await stat(join(dataDir, 'password'))).mode & 0o777).toBe(0o600);
  await using server = await start();
  expect(server.url).toBe(first.url);
  expect(await query(server.url, 'SELECT count(*)::int AS count FROM kept')).toEqual([{ count: 0 }]);
  await expect(query(server.url.replace(/:[^:@]+@/u, ':wrong@'), 'SELECT 1')).rejects.toMatchObject({ code: 'database_unreachable' });
});

test.runIf(process.getuid?.() === 0)('starts in an open folder without any special right', async () => {
  await chmod(base, 0o755);
  await using server = await start();
  const [, effective] = /^CapEff:\s+(\w+)$/mu.exec(await readFile(`/proc/${server.pid}/status`, 'utf8')) ?? [];
  expect(effective).toBe('0'.repeat(16));
});

test.runIf(process.getuid?.() === 0)('starts for an ordinary user', async () => {
  // The account `daemon`, which every Unix has: initdb wants one that has a name.
  const ordinary = 1;
  await chown(base, ordinary, ordinary);
  const module = join(import.meta.dirname, 'embedded-postgres.ts');
  const script = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(module)});
    const server = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, log: () => undefined });
    await server.stop();`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { uid: ordinary, gid: ordinary, stdio: 'pipe', cwd: '/' });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  const [code] = await once(child, 'close');
  expect([code, complaint]).toEqual([0, '']);
  expect((await stat(join(dataDir, 'cluster'))).uid).toBe(ordinary);
  // What belongs to a user is run as that user, by root too.
  await using server = await start();
  expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

describe('what a start finds', () => {
  test('is taken over when the process that started it was killed', async () => {
    const module = join(import.meta.dirname, 'embedded-postgres.ts');
    const script = `
      const { startEmbeddedPostgres } = await import(${JSON.stringify(module)});
      const server = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, log: () => undefined });
      console.log(server.pid);
      setInterval(() => undefined, 1000);`;
    const starter = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [first] = await once(starter.stdout.setEncoding('utf8'), 'data');
    const orphan = Number(first);
    await expect(start()).rejects.toMatchObject({ code: 'conflict', context: { starterPid: starter.pid } });
    expect(await inspectProcess(orphan)).not.toBeNull();
    starter.kill('SIGKILL');
    await once(starter, 'close');
    await using server = await start();
    expect(server.pid).not.toBe(orphan);
    expect(await inspectProcess(orphan)).toBeNull();
    expect(logged.join()).toContain(String(orphan));
  });

  test('is refused while this process runs it', async () => {
    await using server = await start();
    await expect(start()).rejects.toMatchObject({ code: 'conflict' });
    expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('is left alone when it is no cluster, or one of another version', async () => {
    await mkdir(join(dataDir, 'cluster'), { recursive: true });
    await writeFile(join(dataDir, 'cluster', 'diary.txt'), 'dear diary');
    await expect(start()).rejects.toMatchObject({ code: 'configuration_invalid' });
    expect(await readdir(join(dataDir, 'cluster'))).toEqual(['diary.txt']);
    await writeFile(join(dataDir, 'cluster', 'PG_VERSION'), '14\n');
    await expect(start()).rejects.toThrow(/made by PostgreSQL 14/u);
  });

  test('is swept when a first start was interrupted while making the cluster', async () => {
    await mkdir(join(dataDir, 'cluster.new-1'), { recursive: true });
    await using server = await start();
    expect(server.pid).toBeGreaterThan(0);
    expect((await readdir(dataDir)).filter((name) => name.startsWith('cluster'))).toEqual(['cluster']);
  });
});

test('a server that is killed comes back on its port, and nothing that was committed is lost', async () => {
  await using server = await start();
  await migrate(server.url);
  await using db = await openDatabase({ url: server.url, applicationName: 'test', poolSize: 4 });
  const stopping = new AbortController();
  const written: bigint[] = [];
  const write = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const event = { businessEntityId: null, type: 'service.test', subjectKind: 'service', subjectId: 'x', data: {} } as const;
      // A commit whose answer was lost is told as such; whether it happened is then unknown, but it is no loss.
      const sequence = await inTransaction(db, (tx) => appendEvent(tx, event)).catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'database_unreachable' });
        return null;
      });
      if (sequence !== null) written.push(sequence);
    }
  };
  const writing = Promise.all([write(), write(), write()]);
  await expect.poll(() => written.length).toBeGreaterThan(20);
  const { pid } = server;
  signalProcess(pid, 'SIGKILL');
  await expect.poll(() => logged.includes('postgresql was started again'), { timeout: 20_000 }).toBe(true);
  const before = written.length;
  await expect.poll(() => written.length, { timeout: 20_000 }).toBeGreaterThan(before + 20);
  stopping.abort();
  await writing;
  expect(server.pid).not.toBe(pid);
  const kept = new Set((await db.client.event.findMany({ select: { sequence: true } })).map(({ sequence }) => sequence));
  expect(written.filter((sequence) => !kept.has(sequence))).toEqual([]);
  expect(await latestSequence(db.client)).toBeGreaterThanOrEqual(BigInt(written.length));
});

// Where in the start each falls depends on the machine: while the cluster is made, while the server comes up, or after that.
test.each([0, 5, 20, 80, 200, 400, 800])(
  'a start that is interrupted after %i ms leaves no server and no half-made cluster',
  async (afterMs) => {
    const interrupted = startEmbeddedPostgres({ dataDir, log: () => undefined, signal: AbortSignal.timeout(afterMs) });
    const outcome = await interrupted.then(
      (started) => started.stop(),
      (error: unknown) => error,
    );
    if (outcome !== undefined) expect(outcome).toMatchObject({ message: expect.stringMatching(/aborted/u) as unknown });
    expect((await readdir(dataDir)).filter((name) => name.startsWith('cluster.new-') || name === 'starter.pid')).toEqual([]);
    await using server = await start();
    expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  },
);
