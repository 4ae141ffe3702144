import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConnectionOptions } from '../connection-options.ts';
import { connectDatabase, connectWire } from '../connect.ts';
import { parseLsn, type Lsn } from '../lsn.ts';
import { promote } from '../testing/promote.ts';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '../testing/test-postgres.ts';
import { walSegmentStart } from '../wal-segment.ts';
import { createSlot, dropSlot, readSlotPosition, readSlotStatus } from './replication-slot.ts';
import { identifySystem } from './system-identity.ts';
import { WalReceiver, type WalReceiverOptions } from './wal-receiver.ts';

const withCode = (code: string, more: object = {}): unknown => expect.objectContaining({ code, ...more });
const mib = 1024 * 1024;

interface Received {
  readonly files: Map<string, { bytes: Buffer; isComplete: boolean }>;
  readonly timeline: number;
  readonly lsn: Lsn;
}

describe.for(testMajors)('PostgreSQL %i', (major) => {
  const missing = missingPostgres(major);
  let server: TestPostgres;

  beforeAll(async () => {
    if (missing !== null) return;
    server = await startTestPostgres({ major, settings: { wal_keep_size: '2GB', max_wal_size: '2GB' } });
    await server.query("CREATE ROLE streamer LOGIN REPLICATION PASSWORD 'secret'");
  });
  afterAll(async () => server?.[Symbol.asyncDispose]());

  test.skipIf(missing !== null)('under load, every segment is byte for byte that of the server', async () => {
    await server.run('pgbench', ['-i', '-q', '-s', '3', 'postgres']);
    {
      await using wire = await connectWire(placeOf(server), { mode: 'replication' });
      await createSlot(wire, 'chain');
      await expect(createSlot(wire, 'chain')).rejects.toThrow(withCode('conflict'));
    }
    const load = server.run('pgbench', ['-n', '-c', '2', '-T', '4', 'postgres']);
    let place = await slotPlace(server);
    const files: Received['files'] = new Map();
    const state = { isLoaded: true };
    void load.finally(() => (state.isLoaded = false));
    for (let runCount = 0; state.isLoaded || runCount < 2; runCount++) {
      // Some WAL that compresses badly and spans messages.
      await server.query(`CREATE TABLE bulk_${runCount} AS SELECT n, md5(n::text) AS word FROM generate_series(1, 60000) n`);
      const received = await receive(server, { slot: 'chain', ...place });
      for (const [name, file] of received.files) files.set(name, file);
      expect(received.lsn).toBeGreaterThan(place.startLsn);
      place = { timeline: received.timeline, startLsn: received.lsn };
    }
    await load;
    expect(await compareWithServer(server, files)).toBeGreaterThan(3);
    expect([...files.values()].filter(({ isComplete }) => !isComplete)).toHaveLength(1);
  });

  test.skipIf(missing !== null)('the slot keeps what was not confirmed, and no more', async () => {
    await using database = await connectDatabase(placeOf(server));
    await using wire = await connectWire(placeOf(server), { mode: 'replication' });
    const place = await slotPlace(server);
    await server.query('CREATE TABLE kept AS SELECT md5(n::text) FROM generate_series(1, 600000) n');
    const size = 16 * mib;
    const { lsn } = await receive(server, { slot: 'chain', ...place }, false);
    expect(lsn - place.startLsn).toBeGreaterThan(BigInt(2 * size));
    const before = await readSlotPosition(wire, 'chain');
    expect(walSegmentStart(before?.restartLsn ?? 0n, size)).toBe(walSegmentStart(place.startLsn, size));
    expect(await readSlotStatus(database, 'chain')).toMatchObject({ isActive: false, walStatus: 'reserved', safeBytes: null });
    expect((await readSlotStatus(database, 'chain'))?.retainedBytes).toBeGreaterThan(2 * size);
    await receive(server, { slot: 'chain', ...place });
    const after = await readSlotPosition(wire, 'chain');
    expect(walSegmentStart(after?.restartLsn ?? 0n, size)).toBe(walSegmentStart(lsn, size));
    expect((await readSlotStatus(database, 'chain'))?.retainedBytes).toBeLessThan(size);
  });

  test.skipIf(missing !== null)('nothing new is no error, and a stop before the end is kept', async () => {
    await using wire = await connectWire(placeOf(server), { mode: 'replication' });
    const { timeline, flushLsn } = await identifySystem(wire);
    const size = 16 * mib;
    const startLsn = walSegmentStart(flushLsn, size);
    expect((await receive(server, { slot: null, timeline, startLsn, stopLsn: startLsn })).files.size).toBe(0);
    const early = await receive(server, { slot: null, timeline, startLsn: startLsn - BigInt(size), stopLsn: startLsn - 8192n });
    expect(early.files.size).toBeLessThanOrEqual(2);
    expect(early.lsn).toBeLessThan(startLsn + BigInt(mib));
  });

  test.skipIf(missing !== null)('who takes slowly is not thrown out, and an abort frees the slot', async () => {
    const slow = await startTestPostgres({ major, settings: { wal_sender_timeout: '3s', wal_keep_size: '1GB' } });
    await using _ = slow;
    await slow.query('CREATE TABLE bulk AS SELECT md5(n::text) FROM generate_series(1, 500000) n');
    const abort = new AbortController();
    await using wire = await connectWire(
      { ...placeOf(slow), user: slow.user, password: slow.password },
      { mode: 'replication', signal: abort.signal },
    );
    await createSlot(wire, 'chain');
    const receiver = new WalReceiver(wire, { slot: 'chain', timeline: 1, startLsn: parseLsn('0/1000000'), nowMs: () => 0 });
    let count = 0;
    const taking = (async () => {
      for await (const entry of receiver.entries()) {
        if (entry.kind !== 'segment') continue;
        if (count++ === 0) await new Promise((resolve) => setTimeout(resolve, 4_500));
        else abort.abort(new Error('enough'));
      }
    })();
    await expect(taking).rejects.toThrow('enough');
    expect(count).toBe(2);
    await expect.poll(() => slow.query('SELECT active FROM pg_replication_slots'), { timeout: 3_000 }).toEqual([{ active: false }]);
  });

  test.skipIf(missing !== null)('a new timeline is followed from where it left the old one', async () => {
    const place = await slotPlace(server);
    await server.query('CREATE TABLE before_switch AS SELECT md5(n::text) FROM generate_series(1, 100000) n');
    const first = await receive(server, { slot: 'chain', ...place });
    await promote(server);
    await server.query('CREATE TABLE after_switch AS SELECT md5(n::text) FROM generate_series(1, 300000) n');
    const second = await receive(server, { slot: 'chain', timeline: first.timeline, startLsn: first.lsn });
    expect(second.timeline).toBe(2);
    const names = [...second.files.keys()];
    const history = names.indexOf('00000002.history');
    expect(history).toBeGreaterThan(0);
    expect(names[history - 1]).toMatch(/^00000001/u);
    // The same segment on the new timeline.
    expect(names[history + 1]).toBe(`00000002${names[history - 1]?.slice(8)}`);
    expect(second.files.get(names[history - 1] ?? '')?.isComplete).toBe(false);
    expect(await compareWithServer(server, second.files)).toBeGreaterThanOrEqual(2);

    await promote(server);
    const third = await receive(server, { slot: 'chain', timeline: first.timeline, startLsn: first.lsn });
    expect(third.timeline).toBe(3);
    expect([...third.files.keys()].filter((name) => name.endsWith('.history'))).toEqual(['00000002.history', '00000003.history']);
    await compareWithServer(server, third.files);

    // A chain that is ahead of where the new timeline left: its own end was never received by the one who was promoted.
    const ahead = await receive(server, { slot: null, timeline: 1, startLsn: first.lsn + BigInt(64 * mib) });
    expect([...ahead.files.keys()].filter((name) => /^0{7}1/u.test(name))).toEqual([]);
    expect(ahead.timeline).toBe(3);
    await expect(receive(server, { slot: null, timeline: 9, startLsn: 0n })).rejects.toThrow(withCode('postgresql_wal_lost'));
  });

  test.skipIf(missing !== null)('a slot that is busy, dropped, or of another cluster', async () => {
    const place = await slotPlace(server);
    await server.query('CREATE TABLE busy AS SELECT md5(n::text) FROM generate_series(1, 500000) n');
    await using wire = await connectWire(placeOf(server), { mode: 'replication' });
    const receiver = new WalReceiver(wire, { slot: 'chain', ...place, nowMs: Date.now });
    for await (const entry of receiver.entries()) {
      if (entry.kind !== 'segment') continue;
      await expect(receive(server, { slot: 'chain', ...place })).rejects.toThrow(withCode('postgresql_busy', { retry: 'later' }));
      break;
    }
    await using second = await connectWire(placeOf(server), { mode: 'replication' });
    await using database = await connectDatabase(placeOf(server));
    await expect.poll(() => dropSlot(database, 'chain').catch(() => 'busy'), { timeout: 3_000 }).toBe(true);
    expect(await dropSlot(database, 'chain')).toBe(false);
    expect(await readSlotPosition(second, 'chain')).toBeNull();
    const lost = withCode('postgresql_wal_lost', { retry: 'never', hint: expect.stringContaining('full backup') });
    await expect(receive(server, { slot: 'chain', ...place })).rejects.toThrow(lost);
    await expect(receive(server, { slot: null, ...place, systemIdentifier: '1' })).rejects.toThrow(lost);
    await expect(createSlot(second, 'No Name')).rejects.toThrow(withCode('request_invalid'));
  });

  test.skipIf(missing !== null)('WAL that was removed, and a slot that the server gave up', async () => {
    const settings = { max_slot_wal_keep_size: '4MB', max_wal_size: '2MB', min_wal_size: '2MB', wal_keep_size: '0' };
    await using small = await startTestPostgres({ major, settings, initdb: ['--wal-segsize=1'] });
    const options = { ...placeOf(small), user: small.user, password: small.password };
    await using wire = await connectWire(options, { mode: 'replication' });
    await createSlot(wire, 'forgotten');
    const start = (await readSlotPosition(wire, 'forgotten')) ?? { restartLsn: 0n, timeline: 1 };
    for (let round = 0; round < 3; round++) {
      await small.query(`CREATE TABLE t${round} AS SELECT md5(n::text) FROM generate_series(1, 100000) n`);
      await small.query('CHECKPOINT');
    }
    await using database = await connectDatabase(options);
    expect(await readSlotStatus(database, 'forgotten')).toMatchObject({ walStatus: 'lost' });
    const take = (slot: string | null) =>
      receiveOver(options, { slot, timeline: start.timeline, startLsn: start.restartLsn, nowMs: Date.now });
    await expect(take('forgotten')).rejects.toThrow(withCode('postgresql_wal_lost', { retry: 'never' }));
    await expect(take(null)).rejects.toThrow(withCode('postgresql_wal_lost', { retry: 'never' }));
  });
});

function placeOf({ host, port }: TestPostgres): ConnectionOptions {
  return { host, port, user: 'streamer', password: 'secret', database: 'postgres', tls: { mode: 'disable' } };
}

async function slotPlace(server: TestPostgres): Promise<{ timeline: number; startLsn: Lsn }> {
  await using wire = await connectWire(placeOf(server), { mode: 'replication' });
  const position = await readSlotPosition(wire, 'chain');
  if (position === null) throw new Error('there is no slot');
  return { timeline: position.timeline, startLsn: position.restartLsn };
}

function receive(server: TestPostgres, options: Omit<WalReceiverOptions, 'nowMs'>, isConfirming = true): Promise<Received> {
  return receiveOver(placeOf(server), { ...options, nowMs: Date.now }, isConfirming);
}

async function receiveOver(place: ConnectionOptions, options: WalReceiverOptions, isConfirming = true): Promise<Received> {
  await using wire = await connectWire(place, { mode: 'replication' });
  const receiver = new WalReceiver(wire, options);
  const files: Received['files'] = new Map();
  for await (const entry of receiver.entries()) {
    if (entry.kind === 'end') return { files, timeline: entry.timeline, lsn: entry.lsn };
    const isComplete = entry.kind === 'history' || entry.isComplete;
    files.set(entry.name, { bytes: Buffer.from(entry.bytes), isComplete });
    if (isConfirming && entry.kind === 'segment' && isComplete) receiver.confirm(entry.endLsn);
  }
  throw new Error('no end was told');
}

/** Compares with pg_wal; a partial one with the beginning. Gives how many were complete. */
async function compareWithServer(server: TestPostgres, files: Received['files']): Promise<number> {
  const folder = join(server.dataDir, 'pg_wal');
  const names = new Set(await readdir(folder));
  let completeCount = 0;
  for (const [name, { bytes, isComplete }] of files) {
    const theirs = await readFile(join(folder, names.has(name) ? name : `${name}.partial`));
    if (isComplete) expect(theirs.length).toBe(bytes.length);
    expect(theirs.subarray(0, bytes.length).equals(bytes), name).toBe(true);
    if (isComplete) completeCount++;
  }
  return completeCount;
}
