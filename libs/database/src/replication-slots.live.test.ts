import { afterAll, beforeAll, expect, test } from 'vitest';
import { latestSequence, readEvents } from './events.ts';
import { inTransaction } from './in-transaction.ts';
import {
  claimReplicationSlot,
  listReplicationSlots,
  recordSlotMade,
  releaseReplicationSlot,
  slotPassword,
  type NewSlot,
} from './replication-slots.ts';
import { sampleConfig, sampleMasterKey } from './testing/sample-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';
import { lockSlot, recordSlotDropped, recordSlotLook, slotsToWatch, type SlotLook } from './watched-slots.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const place = 'streamer@db:5432';
let clusters = 0;

async function sampleSlot(changes: Partial<NewSlot> = {}): Promise<NewSlot> {
  const backupConfigId = changes.backupConfigId ?? (await sampleConfig(database.db)).id;
  return {
    backupConfigId,
    baseConfigId: backupConfigId,
    name: 'kept',
    server: 'db:5432',
    systemIdentifier: String(++clusters),
    connection: { host: 'db', port: 5432, user: 'streamer' },
    place,
    password: 'the password of then',
    ...changes,
  };
}
const claim = (slot: NewSlot) => inTransaction(database.db, (tx) => claimReplicationSlot(tx, slot, sampleMasterKey));
const made = (slot: NewSlot) => inTransaction(database.db, (tx) => recordSlotMade(tx, slot, sampleMasterKey, new Date()));
const look = (id: string, changes: Partial<SlotLook>) =>
  inTransaction(database.db, (tx) => recordSlotLook(tx, id, { now: new Date(), isNeeded: true, seen: null, failure: null, ...changes }));

test('a slot is new once, is made once that is said, and is another one in another cluster', async () => {
  const slot = await sampleSlot();
  const first = await claim(slot);
  expect(first).toMatchObject({ isNew: true, isMade: false, isMadeElsewhere: false });
  expect(await claim(slot)).toEqual({ ...first, isNew: false });
  await made(slot);
  expect(await claim(slot)).toEqual({ ...first, isNew: false, isMade: true });
  const elsewhere = { ...slot, server: 'db2:5432' };
  expect(await claim(elsewhere)).toMatchObject({ isNew: true, isMade: false, isMadeElsewhere: true });
  expect(await claim({ ...slot, systemIdentifier: String(++clusters) })).toMatchObject({ id: first.id, isNew: false, isMade: false });
});

test('a row that was taken away while the slot was made comes back', async () => {
  const slot = await sampleSlot();
  const { id } = await claim(slot);
  await releaseReplicationSlot(database.db.client, id);
  await made(slot);
  expect(await claim(slot)).toMatchObject({ isNew: false, isMade: true });
});

test('a name belongs to one config of a cluster, and it is not told to which', async () => {
  const slot = await sampleSlot();
  await claim(slot);
  const other = await sampleSlot({ systemIdentifier: slot.systemIdentifier, server: 'alias:5432' });
  const refused: unknown = await claim(other).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'conflict' });
  expect(String(refused)).not.toContain(slot.backupConfigId);
  expect(await claim({ ...other, name: 'another' })).toMatchObject({ isNew: true });
  expect(await claim({ ...other, systemIdentifier: String(++clusters) })).toMatchObject({ isNew: true });
});

test('the password is that of the last run, opens for its place only, and is shown to nobody', async () => {
  const slot = await sampleSlot();
  const { id } = await claim(slot);
  const password = (at: string) => slotPassword(database.db.client, id, at, sampleMasterKey);
  expect(await password(place)).toBe('the password of then');
  await expect(password('streamer@db2:5432')).rejects.toMatchObject({ code: 'secret_unreadable' });
  await claim({ ...slot, password: 'a new one' });
  expect(await password(place)).toBe('a new one');
  await claim({ ...slot, password: null });
  expect(await password(place)).toBeNull();
  const shown = [await slotsToWatch(database.db.client, new Date(), 100), await listReplicationSlots(database.db.client, '*', {})];
  const keys = new Set(
    shown
      .flat()
      .flatMap((each) => ('items' in each ? each.items : [each]))
      .flatMap((each) => Object.keys(each)),
  );
  expect(keys).toContain('server');
  expect(keys).not.toContain('sealedPassword');
});

test('a claim waits for a drop that is under way, and is then a new one', async () => {
  const slot = await sampleSlot();
  const { id } = await claim(slot);
  await made(slot);
  const { promise: locked, resolve: onLocked } = Promise.withResolvers<void>();
  const { promise: mayDrop, resolve: drop } = Promise.withResolvers<void>();
  const dropping = inTransaction(database.db, async (tx) => {
    const watched = await lockSlot(tx, id);
    if (watched === null) throw new Error('it is gone');
    onLocked();
    await mayDrop;
    await recordSlotDropped(tx, watched, true);
  });
  await locked;
  let isClaimed = false;
  const claiming = claim(slot).finally(() => (isClaimed = true));
  await expect
    .poll(
      () =>
        database.db.client.$queryRaw`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%replication_slots%'`,
    )
    .toHaveLength(1);
  expect(isClaimed).toBe(false);
  drop();
  await dropping;
  expect(await claiming).toMatchObject({ isNew: true, isMade: false });
});

test('a change of the level is told once, however many look at once', async () => {
  const slot = await sampleSlot();
  const { id } = await claim(slot);
  const before = await latestSequence(database.db.client);
  const seen = { level: 'warning', walStatus: 'extended', retainedBytes: 9e9, safeBytes: null } as const;
  await Promise.all([look(id, { seen }), look(id, { seen }), look(id, { seen })]);
  await look(id, { failure: { code: 'postgresql_unreachable', message: 'away', isLasting: false } });
  await look(id, { seen });
  const events = await readEvents(database.db.client, { after: before, entityIds: '*', subjectId: slot.backupConfigId });
  expect(events.map(({ type, data }) => ({ type, data }))).toEqual([
    { type: 'config.slot_level_changed', data: { slot: 'kept', server: 'db:5432', before: null, ...seen } },
  ]);
  const [row] = (await listReplicationSlots(database.db.client, '*', {})).items.filter((each) => each.id === id);
  expect(row).toMatchObject({ level: 'warning', retainedBytes: 9_000_000_000n, errorCode: null });
});

test('what keeps a slot from being dropped is told once it is to be dropped, and again when it is something else', async () => {
  const slot = await sampleSlot();
  const { id } = await claim(slot);
  const before = await latestSequence(database.db.client);
  const denied = { code: 'postgresql_denied', message: 'no', isLasting: true };
  expect(await look(id, { failure: denied })).toEqual({ isNews: true });
  expect(await look(id, { failure: denied })).toEqual({ isNews: false });
  for (const failure of [denied, denied, { code: 'postgresql_busy', message: 'streams', isLasting: false }, null, denied]) {
    await look(id, { isNeeded: false, failure });
  }
  const events = await readEvents(database.db.client, { after: before, entityIds: '*', subjectId: slot.backupConfigId });
  const told = { type: 'config.slot_not_dropped', data: { code: 'postgresql_denied', message: 'no' } };
  expect(events).toMatchObject([told, told]);
});
