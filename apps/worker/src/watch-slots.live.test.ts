import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { connectWire } from '@holdfast/sources/postgresql/connect';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { localServers, openSlotKeeper, type SlotKeeper } from './testing/slot-keeper.ts';
import { openWorkerFixture, type WorkerFixture } from './testing/worker-fixture.ts';

const waitMs = 20_000;
const mib = 1024 * 1024;

/** Rights of a role as the documents tell to make it. */
const role = { user: 'holdfast_physical', password: 'a long random one' };
const makeRole = `CREATE ROLE ${role.user} LOGIN REPLICATION PASSWORD '${role.password}'`;

/** Until the worker has looked at the slot this many times more. */
async function rounds(keeper: SlotKeeper, count: number): Promise<void> {
  const seen = new Set<number>();
  await expect
    .poll(
      async () => {
        for (const { checkedAt } of await keeper.rows()) if (checkedAt !== null) seen.add(checkedAt.getTime());
        return seen.size;
      },
      { timeout: waitMs, interval: 20 },
    )
    .toBeGreaterThan(count);
}

const row = (keeper: SlotKeeper) => expect.poll(async () => (await keeper.rows())[0], { timeout: waitMs });
const gone = async (keeper: SlotKeeper): Promise<void> => {
  await expect.poll(() => keeper.rows(), { timeout: waitMs }).toEqual([]);
};

for (const major of testMajors) {
  describe.skipIf(missingPostgres(major) !== null)(`slots of PostgreSQL ${major}`, () => {
    let server: TestPostgres;
    let fixture: WorkerFixture;
    beforeAll(async () => {
      server = await startTestPostgres({ major });
      await server.query(makeRole);
      fixture = await openWorkerFixture('postgresql');
      await fixture.startWorker({ config: localServers });
    });
    afterAll(async () => {
      await fixture[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    });

    test('are looked at, and go with their config, the row after the slot', async () => {
      const keeper = await openSlotKeeper(fixture, server, { role });
      await keeper.ensure();
      await row(keeper).toMatchObject({ level: 'ok', walStatus: 'reserved', errorCode: null, unwantedSince: null });
      const [seen] = await keeper.rows();
      expect(seen).toMatchObject({ name: keeper.slotName, server: `127.0.0.1:${server.port}`, safeBytes: null });
      expect(seen?.seenAt).toEqual(seen?.checkedAt);
      expect(Number(seen?.retainedBytes)).toBeLessThan(16 * mib);
      await rounds(keeper, 2);
      expect(await keeper.slotsThere()).toEqual([keeper.slotName]);
      expect(await keeper.slotEvents()).toEqual([]);

      await keeper.deleteConfig();
      await gone(keeper);
      expect(await keeper.slotsThere()).toEqual([]);
      const { slotName: slot } = keeper;
      expect(await keeper.slotEvents()).toMatchObject([
        { type: 'config.slot_dropped', data: { slot, server: `127.0.0.1:${server.port}` } },
      ]);
    });

    test('that somebody streams from are dropped once that has ended', async () => {
      const keeper = await openSlotKeeper(fixture, server);
      await keeper.ensure();
      {
        const { connection, slotName } = keeper;
        const [place] = await server.query(`SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '${slotName}'`);
        await using wire = await connectWire(connection, { mode: 'replication' });
        wire.begin(`START_REPLICATION SLOT "${slotName}" PHYSICAL ${place?.['restart_lsn']}`, 'reading_wal');
        expect((await wire.next()).kind).toBe('copy-both');
        await keeper.deleteConfig();
        await row(keeper).toMatchObject({ errorCode: 'postgresql_busy', unwantedSince: expect.any(Date), level: 'ok' });
        await rounds(keeper, 2);
        expect(await keeper.slotsThere()).toEqual([slotName]);
      }
      await gone(keeper);
      expect(await keeper.slotsThere()).toEqual([]);
      // Somebody who streams will end: that is no news.
      expect((await keeper.slotEvents()).map(({ type }) => type)).toEqual(['config.slot_dropped']);
    });

    test('that the config does not name any more go once there is what it names, or when it names none', async () => {
      const keeper = await openSlotKeeper(fixture, server, { wal: { slotName: 'first' } });
      await keeper.ensure();
      const { baseConfigId, walConfigId: id } = keeper;
      const { client } = fixture.database.db;
      const source = { type: 'postgresql_wal', method: 'wal', baseConfigId, slotName: 'second' };
      await client.backupConfig.update({ where: { id }, data: { source } });
      // Until the next run it is this one that keeps the WAL.
      await rounds(keeper, 3);
      expect(await keeper.slotsThere()).toEqual(['first']);
      expect(await keeper.rows()).toMatchObject([{ errorCode: null, unwantedSince: null, level: 'ok' }]);
      await keeper.ensure({ name: 'second' });
      await expect.poll(() => keeper.slotsThere(), { timeout: waitMs }).toEqual(['second']);
      await expect.poll(async () => (await keeper.rows()).map(({ name }) => name), { timeout: waitMs }).toEqual(['second']);

      await client.backupConfig.update({ where: { id }, data: { source: { type: 'postgresql_wal', method: 'blocks', baseConfigId } } });
      await gone(keeper);
      expect(await keeper.slotsThere()).toEqual([]);
    });

    test('stay when their server is only called otherwise', async () => {
      const keeper = await openSlotKeeper(fixture, server);
      await keeper.ensure();
      const { port } = server;
      const servers = async () => (await keeper.rows()).map((each) => each.server);
      for (const host of ['localhost', '127.0.0.1']) {
        const other = await openSlotKeeper(fixture, server, { host });
        await takePlace(fixture, keeper, other);
        await keeper.ensure({ at: other });
        await expect.poll(servers, { timeout: waitMs }).toEqual([`${host}:${port}`]);
        await rounds(keeper, 2);
        await row(keeper).toMatchObject({ errorCode: null, unwantedSince: null, level: 'ok' });
        expect(await keeper.slotsThere()).toEqual([keeper.slotName]);
      }
      expect(await keeper.slotEvents()).toEqual([]);
      await keeper.deleteConfig();
      await gone(keeper);
      expect(await keeper.slotsThere()).toEqual([]);
    });

    test('are dropped where they were made once the config has one at another server, with the password of then', async () => {
      await using next = await startTestPostgres({ major });
      const keeper = await openSlotKeeper(fixture, server);
      await keeper.ensure();
      const other = await openSlotKeeper(fixture, next);
      await takePlace(fixture, keeper, other);
      await rounds(keeper, 2);
      expect(await keeper.slotsThere()).toEqual([keeper.slotName]);
      await keeper.ensure({ at: other });
      await expect.poll(() => keeper.slotsThere(), { timeout: waitMs }).toEqual([]);
      await expect
        .poll(() => keeper.rows(), { timeout: waitMs })
        .toMatchObject([{ server: `127.0.0.1:${next.port}`, errorCode: null, unwantedSince: null }]);
      await rounds(keeper, 2);
      expect(await other.slotsThere()).toEqual([keeper.slotName]);
      expect((await keeper.slotEvents()).map(({ type }) => type)).toEqual(['config.slot_dropped']);
      await keeper.deleteConfig();
      await gone(keeper);
    });

    test('that cannot be dropped stay with their row, and it is told once why', async () => {
      const { client } = fixture.database.db;
      const refused: [SlotKeeper, string][] = [];
      const keep = async (name: string, code: string, change: object): Promise<void> => {
        const keeper = await openSlotKeeper(fixture, server, { wal: { slotName: name } });
        await keeper.ensure();
        const { walConfigId: backupConfigId, baseConfigId } = keeper;
        // Whoever has the base config moves it: the password is the one that was noted.
        await client.backupConfig.update({ where: { id: baseConfigId }, data: { sealedSourcePassword: null, source: {} } });
        await client.replicationSlot.updateMany({ where: { backupConfigId }, data: change });
        await keeper.deleteConfig();
        refused.push([keeper, code]);
      };
      const [anothers] = await client.backupConfig.findMany({ where: { sealedSourcePassword: { not: null } }, take: 1 });
      await keep('a_sealed_elsewhere', 'secret_unreadable', { sealedPassword: anothers?.sealedSourcePassword });
      await keep('b_of_a_host_not_allowed', 'postgresql_host_not_allowed', {
        connection: { host: '127.0.0.2', port: server.port, user: 'postgres', database: 'postgres', tls: { mode: 'disable' } },
      });
      await keep('c_without_password', 'postgresql_login_failed', { sealedPassword: null });
      await keep('d_of_another_cluster', 'postgresql_wal_lost', { systemIdentifier: '1' });
      await keep('e_never_noted_as_made', 'conflict', { madeAt: null });
      for (const [keeper, code] of refused) {
        await row(keeper).toMatchObject({ errorCode: code, unwantedSince: expect.any(Date) });
        await rounds(keeper, 2);
        const { slotName: slot } = keeper;
        const events = await keeper.slotEvents();
        expect(events).toMatchObject([{ type: 'config.slot_not_dropped', data: { slot, code, message: expect.any(String) } }]);
        expect(JSON.stringify(events.map(({ data }) => data))).not.toContain(server.password);
      }
      expect(await refused[0]?.[0].slotsThere()).toEqual(refused.map(([{ slotName }]) => slotName));
      const names = refused.map(([{ slotName }]) => slotName);
      await client.replicationSlot.deleteMany({ where: { name: { in: names } } });
      for (const name of names) await server.query(`SELECT pg_drop_replication_slot('${name}')`);
    });
  });

  test.skipIf(missingPostgres(major) !== null)(
    `a PostgreSQL ${major} that is down holds up no other, and has its turn when it is back`,
    async () => {
      await using down = await startTestPostgres({ major });
      await using up = await startTestPostgres({ major });
      await using fixture = await openWorkerFixture('postgresql');
      const silent = await listenSilently();
      const [unanswered, lost] = [await openSlotKeeper(fixture, up), await openSlotKeeper(fixture, down)];
      const [live, deleted] = [await openSlotKeeper(fixture, up), await openSlotKeeper(fixture, up)];
      for (const keeper of [unanswered, lost, live, deleted]) await keeper.ensure();
      const { client } = fixture.database.db;
      const { baseConfigId: id } = unanswered;
      const connection = { host: '127.0.0.1', port: silent.port, user: 'postgres', database: 'postgres', tls: { mode: 'disable' } };
      const moved = { server: `127.0.0.1:${silent.port}`, connection, sealedPassword: null };
      await client.backupConfig.update({ where: { id }, data: { source: {} } });
      await client.replicationSlot.updateMany({ where: { baseConfigId: id }, data: moved });
      await down.stop();
      for (const keeper of [lost, deleted]) await keeper.deleteConfig();
      await fixture.startWorker({ config: localServers });
      await gone(deleted);
      await row(live).toMatchObject({ errorCode: null, level: 'ok' });
      // It came first, and is still waited for.
      expect(await unanswered.rows()).toMatchObject([{ checkedAt: null, errorCode: null }]);
      await row(lost).toMatchObject({ errorCode: 'postgresql_unreachable', unwantedSince: expect.any(Date), level: null, seenAt: null });
      expect(await up.query(`SELECT 1 FROM pg_replication_slots WHERE slot_name = '${live.slotName}'`)).toHaveLength(1);

      await row(unanswered).toMatchObject({ errorCode: 'postgresql_unreachable' });
      silent.close();
      await down.start();
      await gone(lost);
      expect(await lost.slotsThere()).toEqual([]);
    },
  );

  test.skipIf(missingPostgres(major) !== null)(`a level that changes at a PostgreSQL ${major} is told once`, async () => {
    const settings = { max_wal_size: '2MB', min_wal_size: '2MB', wal_keep_size: '0' };
    await using server = await startTestPostgres({ major, settings, initdb: ['--wal-segsize=1'] });
    await using fixture = await openWorkerFixture('postgresql');
    await fixture.startWorker({ config: { ...localServers, slotWarningBytes: 8 * mib } });
    const keeper = await openSlotKeeper(fixture, server);
    await keeper.ensure();
    const levels = async () =>
      (await keeper.slotEvents()).map(({ type, data }) => `${type} ${String(data['before'])} to ${String(data['level'])}`);
    await row(keeper).toMatchObject({ level: 'ok' });

    await server.query('CREATE TABLE bulk AS SELECT md5(n::text) FROM generate_series(1, 200000) n');
    await row(keeper).toMatchObject({ level: 'warning', walStatus: 'extended' });
    await rounds(keeper, 3);
    expect(await levels()).toEqual(['config.slot_level_changed ok to warning']);
    const [told] = await keeper.slotEvents();
    expect(told?.data).toMatchObject({ slot: keeper.slotName, walStatus: 'extended', safeBytes: null });
    expect(told?.data['retainedBytes']).toBeGreaterThan(8 * mib);

    await server.query(`SELECT pg_replication_slot_advance('${keeper.slotName}', pg_current_wal_lsn())`);
    await row(keeper).toMatchObject({ level: 'ok' });
    await server.query(`ALTER SYSTEM SET max_slot_wal_keep_size = '4MB'`);
    await server.query('SELECT pg_reload_conf()');
    await server.query('CREATE TABLE more AS SELECT md5(n::text) FROM generate_series(1, 200000) n');
    await server.query('CHECKPOINT');
    await row(keeper).toMatchObject({ level: 'lost', walStatus: 'lost' });
    await rounds(keeper, 3);
    const told3 = await levels();
    expect(told3.slice(0, 2)).toEqual(['config.slot_level_changed ok to warning', 'config.slot_level_changed warning to ok']);
    expect(told3.at(-1)).toMatch(/to lost$/u);
    expect(new Set(told3).size).toBe(told3.length);

    // The next run makes it anew.
    await keeper.ensure();
    await row(keeper).toMatchObject({ level: 'ok' });
    await server.query(`SELECT pg_drop_replication_slot('${keeper.slotName}')`);
    await row(keeper).toMatchObject({ level: 'lost', walStatus: null, retainedBytes: null });
  });
}

/** The base of the one has the server, and the password, of the other's from now on. */
async function takePlace({ database: { db } }: WorkerFixture, keeper: SlotKeeper, other: SlotKeeper): Promise<void> {
  const { source, sealedSourcePassword } = await db.client.backupConfig.findUniqueOrThrow({ where: { id: other.baseConfigId } });
  await db.client.backupConfig.update({ where: { id: keeper.baseConfigId }, data: { source: Object(source), sealedSourcePassword } });
}

/** A server that takes connections and never says a word. */
async function listenSilently(): Promise<{ port: number; close: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => void sockets.add(socket.on('error', () => undefined))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { port: address.port, close };
}
