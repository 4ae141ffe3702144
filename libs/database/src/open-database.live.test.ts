import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { withAdvisoryLock } from './advisory-lock.ts';
import { createEntity } from './entities.ts';
import { inTransaction } from './in-transaction.ts';
import { openDatabase } from './open-database.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test.each(['postgresql://u:secret@127.0.0.1:1/x', 'postgresql://u:secret@no-such-host.invalid/x'])(
  'a server that is not there is unreachable, and the password is not told: %s',
  async (url) => {
    const error = await openDatabase({ url, applicationName: 'test' }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'database_unreachable', retry: 'later' });
    expect(String(error)).not.toContain('secret');
  },
);

test.each(['', 'not a url', 'mysql://u:secret@h/x'])('the URL %j is refused without being repeated', async (url) => {
  const error = await openDatabase({ url, applicationName: 'test' }).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'configuration_invalid' });
  expect(String(error)).not.toContain('secret');
});

test('times are the same moments whatever the time zone of the server and of the URL', async () => {
  const name = new URL(database.url).pathname.slice(1);
  await database.db.client.$executeRawUnsafe(`ALTER DATABASE "${name}" SET timezone TO 'Asia/Tokyo'`);
  const url = `${database.url}?options=${encodeURIComponent('-c work_mem=8MB')}`;
  await using db = await openDatabase({ url, applicationName: 'tokyo' });
  const { id, createdAt } = await inTransaction(db, (tx) => createEntity(tx, { name: 'tokyo' }));
  const [row] = await db.client.$queryRaw<{ at: Date; epochMs: number; zone: string; memory: string }[]>`
    SELECT "createdAt" AS at, (extract(epoch FROM "createdAt") * 1000)::float8 AS "epochMs", current_setting('TimeZone') AS zone,
      current_setting('work_mem') AS memory FROM "business_entities" WHERE "id" = ${id}`;
  expect(row).toEqual({ at: createdAt, epochMs: createdAt.getTime(), zone: 'UTC', memory: '8MB' });
  expect(Math.abs(createdAt.getTime() - Date.now())).toBeLessThan(60_000);
  const [sent] = await db.client.$queryRaw<{ same: boolean }[]>`
    SELECT "createdAt" = ${createdAt}::timestamptz AS same FROM "business_entities" WHERE "id" = ${id}`;
  expect(sent).toEqual({ same: true });
});

test('a connection that is cut in a transaction is replaced and the transaction run again', async () => {
  let tries = 0;
  await inTransaction(database.db, async (tx) => {
    tries++;
    await tx.businessEntity.create({ data: { name: `cut ${tries}` } });
    if (tries < 3) await tx.$executeRaw`SELECT pg_terminate_backend(pg_backend_pid())`;
  });
  expect(tries).toBe(3);
  expect(await database.db.client.businessEntity.count({ where: { name: { startsWith: 'cut' } } })).toBe(1);
});

test('a deadlock is resolved by running one of the two again', async () => {
  const { db } = database;
  const make = (name: string) => inTransaction(db, (tx) => createEntity(tx, { name }));
  const [one, two] = [await make('one'), await make('two')];
  const touch = (first: string, second: string) =>
    inTransaction(db, async (tx) => {
      await tx.businessEntity.update({ where: { id: first }, data: { updatedAt: new Date() } });
      await delay(50);
      await tx.businessEntity.update({ where: { id: second }, data: { updatedAt: new Date() } });
    });
  await expect(Promise.all([touch(one.id, two.id), touch(two.id, one.id)])).resolves.toHaveLength(2);
});

test('what fn throws rolls back and is passed on, once', async () => {
  let tries = 0;
  const failing = inTransaction(database.db, async (tx) => {
    tries++;
    await tx.businessEntity.create({ data: { name: 'gone' } });
    throw new RangeError('mine');
  });
  await expect(failing).rejects.toThrow(RangeError);
  expect(tries).toBe(1);
  expect(await database.db.client.businessEntity.count({ where: { name: 'gone' } })).toBe(0);
});

test('a named lock is held by one at a time and freed when its holder ends or fails', async () => {
  const { db } = database;
  const inside = Promise.withResolvers<void>();
  const leave = Promise.withResolvers<void>();
  const holding = withAdvisoryLock(db, 'reconcile', async () => {
    inside.resolve();
    await leave.promise;
    return 'done';
  });
  await inside.promise;
  expect(await withAdvisoryLock(db, 'reconcile', async () => 'too early')).toBeNull();
  leave.resolve();
  expect(await holding).toBe('done');
  const failing = withAdvisoryLock(db, 'reconcile', async () => {
    throw new Error('mine');
  });
  await expect(failing).rejects.toThrow('mine');
  expect(await withAdvisoryLock(db, 'reconcile', async () => 'again')).toBe('again');
});

test('a test database after the first takes little time', async () => {
  const begunAt = performance.now();
  await using another = await createTestDatabase();
  expect(another.url).not.toBe(database.url);
  // Far above what is usual (below 100 ms), so that a busy machine does not fail it.
  expect(performance.now() - begunAt).toBeLessThan(2_000);
});

test('a connection that a test leaves open is told', async () => {
  const leaking = await createTestDatabase();
  const leak = await openDatabase({ url: leaking.url, applicationName: 'forgotten' });
  await expect(leaking.drop()).rejects.toThrow(/forgotten/u);
  await leak.close();
});
