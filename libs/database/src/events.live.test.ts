import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { appendEvent, eventsChannel, latestSequence, readEvents, type LoggedEvent } from './events.ts';
import { inTransaction } from './in-transaction.ts';
import { listen, type Notification } from './listen.ts';
import { sampleEntity } from './testing/sample-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase({ poolSize: 10 });
});
afterAll(() => database.drop());

const append = (businessEntityId: string | null, subjectId: string, pauseMs = 0) =>
  inTransaction(database.db, async (tx) => {
    await delay(pauseMs);
    const sequence = await appendEvent(tx, {
      businessEntityId,
      type: 'service.test',
      subjectKind: 'service',
      subjectId,
      data: { pauseMs },
    });
    await delay(pauseMs);
    return sequence;
  });

test('a reader that follows the log misses nothing, though writers commit in any order', async () => {
  const { client } = database.db;
  const after = await latestSequence(client);
  const writing = Promise.all(Array.from({ length: 60 }, (_, index) => append(null, `w${index}`, (index * 7) % 11)));
  const seen: LoggedEvent[] = [];
  const state = { isWriting: true };
  void writing.finally(() => (state.isWriting = false));
  while (state.isWriting) {
    seen.push(...(await readEvents(client, { after: seen.at(-1)?.sequence ?? after, entityIds: '*', limit: 7 })));
  }
  for (let more = -1; more !== 0;) {
    const rest = await readEvents(client, { after: seen.at(-1)?.sequence ?? after, entityIds: '*' });
    seen.push(...rest);
    more = rest.length;
  }
  const written = (await writing).toSorted((a, b) => Number(a - b));
  expect(seen.map(({ sequence }) => sequence)).toEqual(written);
});

test('a reader sees the events of its entities only', async () => {
  const [mine, other] = [await sampleEntity(database.db), await sampleEntity(database.db)];
  const after = await latestSequence(database.db.client);
  await append(mine.id, 'mine');
  await append(other.id, 'other');
  await append(null, 'everybody');
  const read = async (entityIds: readonly string[] | '*', subjectId?: string) =>
    (await readEvents(database.db.client, { after, entityIds, subjectId })).map((event) => event.subjectId);
  expect(await read([mine.id])).toEqual(['mine']);
  expect(await read([])).toEqual([]);
  expect(await read('*')).toEqual(['mine', 'other', 'everybody']);
  expect(await read('*', 'other')).toEqual(['other']);
});

test('an event is never changed', async () => {
  const sequence = await append(null, 'fixed');
  await expect(database.db.client.event.update({ where: { sequence }, data: { type: 'service.other' } })).rejects.toThrow(/append-only/u);
});

test('what was rolled back is neither in the log nor told', async () => {
  const after = await latestSequence(database.db.client);
  const failing = inTransaction(database.db, async (tx) => {
    await appendEvent(tx, { businessEntityId: null, type: 'service.test', subjectKind: 'service', subjectId: 'gone', data: {} });
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  expect(await readEvents(database.db.client, { after, entityIds: '*' })).toEqual([]);
});

test('a listener is woken on commit, and told to look at everything after it was cut off', async () => {
  const heard: Notification[] = [];
  const errors: unknown[] = [];
  await using listener = listen(database.url, [eventsChannel], (notification) => heard.push(notification), {
    onError: (error) => errors.push(error),
  });
  await listener.ready;
  await append(null, 'first');
  await expect.poll(() => heard).toEqual([{ channel: eventsChannel, payload: '' }]);
  const cut = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast-listen' AND datname = current_database()`;
  await database.db.client.$executeRawUnsafe(cut);
  await expect.poll(() => heard[1], { timeout: 5_000 }).toEqual({ channel: null, payload: '' });
  expect(errors).toEqual([expect.objectContaining({ code: 'database_unreachable' })]);
  await append(null, 'second');
  await expect.poll(() => heard[2]).toEqual({ channel: eventsChannel, payload: '' });
});

test('a listener can be closed while it cannot connect', async () => {
  const errors: unknown[] = [];
  const listener = listen('postgresql://nobody@127.0.0.1:1/none', ['x'], () => undefined, { onError: (error) => errors.push(error) });
  await expect.poll(() => errors.length).toBeGreaterThan(1);
  await listener.close();
  await listener.ready;
  expect(errors[0]).toMatchObject({ code: 'database_unreachable' });
});
