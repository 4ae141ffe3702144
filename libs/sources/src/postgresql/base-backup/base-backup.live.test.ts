import { chown, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConnectionOptions } from '../connection-options.ts';
import { connectWire } from '../connect.ts';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '../testing/test-postgres.ts';
import { copyWal, rewriteTablespaceMap, writeBackup } from '../testing/write-backup.ts';
import type { WireConnection } from '../wire/wire-connection.ts';
import { receiveBaseBackup, type BaseBackupEntry, type ReceiveOptions } from './base-backup.ts';
import { formatBackupManifest, parseBackupManifest } from './backup-manifest.ts';

const options: ReceiveOptions = { label: "it's a test", checkpoint: 'fast' };
const withCode = (code: string, more: object = {}): unknown => expect.objectContaining({ code, ...more });

describe.for(testMajors)('PostgreSQL %i', (major) => {
  const missing = missingPostgres(major);
  let server: TestPostgres;
  let folder: string;

  beforeAll(async () => {
    if (missing !== null) return;
    const settings = { ...(major >= 17 ? { summarize_wal: 'on' } : {}), checkpoint_timeout: '1h', max_wal_size: '4GB' };
    server = await startTestPostgres({ major, settings });
    folder = await mkdtemp(join(tmpdir(), 'holdfast-backup-'));
    const { uid, gid } = { uid: process.getuid?.() === 0 ? 65_534 : -1, gid: process.getuid?.() === 0 ? 65_534 : -1 };
    if (uid > 0) await chown(folder, uid, gid);
    const space = join(server.folder, 'space');
    await mkdir(space);
    if (uid > 0) await chown(space, uid, gid);
    await server.query(`CREATE TABLESPACE elsewhere LOCATION '${space}'`);
    await server.query(
      `CREATE ROLE streamer LOGIN REPLICATION PASSWORD 'secret';
      CREATE TABLE numbers AS SELECT n, md5(n::text) AS word FROM generate_series(1, 200000) n;
      CREATE TABLE apart (n int PRIMARY KEY, word text) TABLESPACE elsewhere;
      INSERT INTO apart SELECT n, repeat('x', n % 100) FROM generate_series(1, 50000) n;
      CREATE UNLOGGED TABLE forgotten AS SELECT 1 AS a; VACUUM numbers; CREATE INDEX ON numbers (word)`.replace('VACUUM numbers; ', ''),
    );
    await server.query('VACUUM numbers');
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    if (missing === null) await rm(folder, { recursive: true });
  });

  const connect = (signal?: AbortSignal): Promise<WireConnection> => connectWire(placeOf(server), { mode: 'replication', signal });

  test.skipIf(missing !== null)('a backup into a folder is taken by pg_verifybackup and started by the server itself', async () => {
    const dataDir = join(folder, 'whole', 'data');
    const progress: number[] = [];
    await using wire = await connect();
    // Changes go on meanwhile: what the files have of them is for the WAL to sort out.
    const changes = server.query("INSERT INTO numbers SELECT n, 'later' FROM generate_series(1, 20000) n");
    const written = await writeBackup(receiveBaseBackup(wire, { ...options, onProgress: (done) => progress.push(done) }), dataDir);
    await changes;
    expect(written.start).toMatchObject({ timeline: 1, arePagesChecked: true, tablespaces: [{ location: join(server.folder, 'space') }] });
    expect(written.start.estimatedBytes).toBeGreaterThan(20_000_000);
    expect(written.end).toMatchObject({ timeline: 1, badPageCount: 0, badPages: [] });
    expect(written.end.checkedPageCount).toBeGreaterThan(2_000);
    expect(written.end.endLsn).toBeGreaterThan(written.start.startLsn);
    expect(progress.at(-1)).toBeGreaterThan(20_000_000);
    expect((await wire.query('IDENTIFY_SYSTEM')).length).toBe(1);

    await copyWal(server.dataDir, dataDir);
    if (process.getuid?.() === 0) await promisify(execFile)('chown', ['-R', '65534:65534', join(folder, 'whole')]);
    // The 18 of npm has no pg_verifybackup, and 15's does not know its manifest.
    if (major === 15) expect(await server.run('pg_verifybackup', [dataDir])).toContain('backup successfully verified');
    await rewriteTablespaceMap(dataDir, written.start);
    await comparedWithSource(server, dataDir);
  });

  test.skipIf(missing !== null)('the manifest is read and written byte for byte as the server writes it', async () => {
    const bytes = await readFile(join(folder, 'whole', 'data', 'backup_manifest'));
    const manifest = parseBackupManifest(bytes);
    expect(manifest.version).toBe(major >= 17 ? 2 : 1);
    expect(manifest.files.length).toBeGreaterThan(900);
    expect(manifest.walRanges).toHaveLength(1);
    const [row] = await server.query('SELECT system_identifier::text AS id FROM pg_control_system()');
    expect(manifest.systemIdentifier).toBe(major >= 17 ? BigInt(row?.['id'] ?? '') : null);
    expect(formatBackupManifest(manifest).equals(bytes)).toBe(true);
  });

  test.skipIf(missing !== null)('a flipped bit in a page is reported with file and block, and the backup goes on', async () => {
    const [row] = await server.query("CHECKPOINT; SELECT pg_relation_filepath('numbers') AS file");
    const file = row?.['file'] ?? '';
    const mend = await flipByte(join(server.dataDir, file), 7 * 8192 + 4_000);
    const mendFsm = await flipByte(join(server.dataDir, `${file}_fsm`), 2 * 8192 + 4_000);
    try {
      await using wire = await connect();
      const { end } = await drained(receiveBaseBackup(wire, options));
      expect(end.badPageCount).toBe(2);
      const page = (name: string, block: number) => ({ file: name, block, expected: expect.any(Number), found: expect.any(Number) });
      expect(end.badPages).toEqual(expect.arrayContaining([page(file, 7), page(`${file}_fsm`, 2)]));
    } finally {
      await mend();
      await mendFsm();
    }
  });

  test.skipIf(missing !== null)('an abort in the middle leaves no backup at the server', async () => {
    const abort = new AbortController();
    await using wire = await connect(abort.signal);
    const taking = (async () => {
      for await (const entry of receiveBaseBackup(wire, options)) {
        if (entry.kind !== 'file') continue;
        for await (const _ of entry.content) if (entry.path.startsWith('base/5/')) abort.abort(new Error('enough'));
      }
    })();
    await expect(taking).rejects.toThrow('enough');
    await withoutBackup(server);
  });

  test.skipIf(missing !== null)('an abort while the server writes its checkpoint does too', async () => {
    const abort = new AbortController();
    await server.query('UPDATE apart SET word = word');
    await using wire = await connect(abort.signal);
    const taking = drained(receiveBaseBackup(wire, { ...options, checkpoint: 'spread' })).catch((error: unknown) => error);
    const phase = async () => (await server.query('SELECT phase FROM pg_stat_progress_basebackup'))[0]?.['phase'];
    while ((await phase()) !== 'waiting for checkpoint to finish') await delay(10);
    abort.abort(new Error('enough'));
    expect(await taking).toEqual(new Error('enough'));
    await withoutBackup(server);
    await server.query('CHECKPOINT');
  });

  test.skipIf(missing !== null)('who stops early ends the backup', async () => {
    await using wire = await connect();
    for await (const entry of receiveBaseBackup(wire, options)) if (entry.kind === 'directory') break;
    await withoutBackup(server);
    await expect(wire.query('IDENTIFY_SYSTEM')).rejects.toThrow(withCode('postgresql_interrupted'));
  });

  test.skipIf(missing !== null)('a slow taker slows the server down', async () => {
    await using wire = await connect();
    let takenBytes = 0;
    let maxWaitingBytes = 0;
    let pauseCount = 0;
    for await (const entry of receiveBaseBackup(wire, options)) {
      if (entry.kind !== 'file') continue;
      for await (const slice of entry.content) {
        takenBytes += slice.length;
        if (takenBytes > pauseCount * 1024 * 1024 && pauseCount < 10) {
          pauseCount++;
          await delay(50);
        }
        maxWaitingBytes = Math.max(maxWaitingBytes, wire.receivedBytes - takenBytes);
      }
    }
    expect(takenBytes).toBeGreaterThan(20_000_000);
    // One mebibyte waits, and the headers of a thousand files are received but not taken.
    expect(maxWaitingBytes).toBeLessThan(5_000_000);
  });

  test.skipIf(missing !== null)('a server that is shut down in the middle', async () => {
    await using other = await startTestPostgres({ major });
    await using wire = await connectWire({ ...placeOf(other), user: other.user, password: other.password }, { mode: 'replication' });
    let isTold = false;
    let stopping = Promise.resolve();
    const taking = (async () => {
      for await (const entry of receiveBaseBackup(wire, { ...options, maxRateKibPerS: 2_000 })) {
        if (entry.kind === 'file') for await (const _ of entry.content) if (!isTold) [isTold, stopping] = [true, other.stop()];
      }
    })();
    await expect(taking).rejects.toThrow(withCode('postgresql_interrupted', { retry: 'later' }));
    await stopping;
  });

  test.skipIf(missing !== null)('a file that the server may not read', async () => {
    const path = join(server.dataDir, 'closed');
    await writeFile(path, 'x', { mode: 0o000 });
    try {
      await using wire = await connect();
      await expect(drained(receiveBaseBackup(wire, options))).rejects.toThrow(
        withCode('postgresql_denied', { hint: expect.stringContaining('give that file back') }),
      );
    } finally {
      await rm(path);
    }
  });

  // Older ones have none, which is the next test.
  test.skipIf(missing !== null).each(major >= 17 ? [major] : [])('%i makes an incremental backup on top of a manifest', async () => {
    const base = await readFile(join(folder, 'whole', 'data', 'backup_manifest'));
    await server.query("UPDATE numbers SET word = 'changed' WHERE n < 500");
    await using wire = await connect();
    const paths: string[] = [];
    let takenBytes = 0;
    let ended: unknown;
    for await (const entry of receiveBaseBackup(wire, { ...options, incrementalFrom: base })) {
      if (entry.kind === 'end') ended = entry;
      if (entry.kind !== 'file') continue;
      paths.push(entry.path);
      for await (const slice of entry.content) takenBytes += slice.length;
    }
    const [row] = await server.query("SELECT pg_relation_filepath('numbers') AS file");
    const file = row?.['file'] ?? '';
    expect(paths).toContain(`${dirname(file)}/INCREMENTAL.${file.slice(dirname(file).length + 1)}`);
    expect(takenBytes).toBeLessThan(25_000_000);
    expect(ended).toMatchObject({ badPageCount: 0 });
    expect((ended as { checkedPageCount: number }).checkedPageCount).toBeGreaterThan(0);
  });

  test.skipIf(missing !== null)('incremental backups that cannot be', async () => {
    const foreign = await readFile(join(folder, 'whole', 'data', 'backup_manifest'));
    await using other = await startTestPostgres({ major });
    const take = async (incrementalFrom?: Uint8Array) => {
      await using wire = await connectWire({ ...placeOf(other), user: other.user, password: other.password }, { mode: 'replication' });
      return await drained(receiveBaseBackup(wire, { ...options, incrementalFrom }));
    };
    const own = (await take()).manifest;
    await expect(take(own)).rejects.toThrow(withCode(major >= 17 ? 'postgresql_setting_missing' : 'postgresql_version_unsupported'));
    await expect(take(foreign)).rejects.toThrow(withCode(major >= 17 ? 'postgresql_wal_lost' : 'postgresql_version_unsupported'));
    const broken = Buffer.from(own.subarray(0, own.length - 10));
    await expect(take(broken)).rejects.toThrow(withCode(major >= 17 ? 'postgresql_wal_lost' : 'postgresql_version_unsupported'));
  });
});

function placeOf({ host, port }: TestPostgres): ConnectionOptions {
  return { host, port, user: 'streamer', password: 'secret', database: 'postgres', tls: { mode: 'disable' } };
}

/** Starts the copy with the server's own programs and compares it with its source. */
async function comparedWithSource(server: TestPostgres, dataDir: string): Promise<void> {
  const sql = `SELECT (SELECT count(*) || md5(string_agg(n || word, ',' ORDER BY n, word)) FROM numbers) AS numbers,
    (SELECT count(*) || md5(string_agg(n || word, ',' ORDER BY n)) FROM apart) AS apart, (SELECT count(*) FROM pg_class)::text AS classes`;
  await using copy = await startTestPostgres({ major: server.major, dataDir, password: server.password });
  expect(await copy.query(sql)).toEqual(await server.query(sql));
  expect(await copy.query('SELECT * FROM forgotten')).toEqual([]);
}

async function drained(
  entries: AsyncIterable<BaseBackupEntry>,
): Promise<{ end: Extract<BaseBackupEntry, { kind: 'end' }>; manifest: Buffer }> {
  let manifest: Buffer = Buffer.alloc(0);
  for await (const entry of entries) {
    if (entry.kind === 'manifest') manifest = entry.bytes;
    if (entry.kind === 'end') return { end: entry, manifest };
    if (entry.kind === 'file') for await (const _ of entry.content);
  }
  throw new Error('the backup did not end');
}

async function withoutBackup(server: TestPostgres): Promise<void> {
  const count = async () => (await server.query('SELECT 1 FROM pg_stat_progress_basebackup')).length;
  for (const giveUpAtMs = performance.now() + 2_000; (await count()) > 0; await delay(20)) {
    if (performance.now() > giveUpAtMs) throw new Error('the server still makes a backup');
  }
  expect(await count()).toBe(0);
}

/** Gives what puts the byte back. */
async function flipByte(path: string, at: number): Promise<() => Promise<void>> {
  const flip = async (): Promise<void> => {
    const file = await open(path, 'r+');
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ 1;
    await file.write(byte, 0, 1, at);
    await file.close();
  };
  await flip();
  return flip;
}
