import { afterAll, beforeAll, expect, test } from 'vitest';
import { readEvents } from '@holdfast/database/events';
import { inTransaction } from '@holdfast/database/in-transaction';
import { claimReplicationSlot } from '@holdfast/database/replication-slots';
import { recordSlotLook, type SlotLook } from '@holdfast/database/watched-slots';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { configBody, masterKey, startTestApi, type TestApi } from '../testing/test-api.ts';

let api: TestApi;
let mine: string;
let other: string;
beforeAll(async () => {
  api = await startTestApi();
  [mine, other] = [await api.addEntity('mine'), await api.addEntity('other')];
});
afterAll(() => api?.[Symbol.asyncDispose]());

interface Listed {
  readonly items: { readonly id: string; readonly name: string }[];
  readonly nextCursor: string | null;
}

/** A config with a slot that a worker has looked at, or not. */
async function addSlot(entityId: string, name: string, look?: Partial<SlotLook>): Promise<{ backupConfigId: string }> {
  const { id: backupConfigId } = (await api.send('POST', '/configs', configBody(entityId))).json<{ id: string }>();
  const connection = { host: 'db', port: 5432, user: 'streamer' };
  const place = { server: 'db:5432', systemIdentifier: '1', connection, place: 'streamer@db:5432', password: 'of the streamer' };
  const slot = { backupConfigId, baseConfigId: backupConfigId, name, ...place };
  await inTransaction(api.database, async (tx) => {
    const { id } = await claimReplicationSlot(tx, slot, parseMasterKey(masterKey));
    const now = new Date('2026-05-01T00:00:00Z');
    if (look !== undefined) await recordSlotLook(tx, id, { now, isNeeded: true, seen: null, failure: null, ...look });
  });
  return { backupConfigId };
}
const list = async (query = '', token?: string): Promise<Listed> => {
  const answer = await api.send('GET', `/replication-slots${query}`, undefined, token === undefined ? {} : { token });
  expect(answer.statusCode, answer.body).toBe(200);
  return answer.json<Listed>();
};
const names = async (query = '', token?: string): Promise<string[]> => (await list(query, token)).items.map(({ name }) => name);

test('a viewer sees the slots of his entities, as they were last seen, and no secret', async () => {
  const seen = { level: 'warning', walStatus: 'extended', retainedBytes: 9_000_000_000, safeBytes: 1_000 } as const;
  const { backupConfigId } = await addSlot(mine, 'mine_watched', { seen });
  await addSlot(mine, 'mine_new');
  const failure = { code: 'postgresql_unreachable', message: 'away', isLasting: false };
  await addSlot(mine, 'mine_unwanted', { failure, isNeeded: false });
  await addSlot(other, 'others', { seen });

  const viewer = api.token('viewer', [mine]);
  const { items } = await list('', viewer);
  const never = { level: null, walStatus: null, retainedBytes: null, safeBytes: null, seenAt: null, errorCode: null };
  const at = '2026-05-01T00:00:00.000Z';
  expect(items).toMatchObject([
    { name: 'mine_unwanted', ...never, checkedAt: at, errorCode: 'postgresql_unreachable', unwantedSince: at },
    { name: 'mine_new', ...never, checkedAt: null, unwantedSince: null },
    {
      name: 'mine_watched',
      businessEntityId: mine,
      backupConfigId,
      server: 'db:5432',
      ...seen,
      seenAt: at,
      checkedAt: at,
      errorCode: null,
    },
  ]);
  expect(JSON.stringify(items)).not.toMatch(/sealed|streamer/u);

  expect(await names('', api.token('viewer', [other]))).toEqual(['others']);
  expect(await names(`?entityId=${other}`, viewer)).toEqual([]);
  expect(await names('', api.token('viewer', []))).toEqual([]);
  expect(await names()).toHaveLength(4);
  expect(await names(`?entityId=${other}`)).toEqual(['others']);
});

test('a slot stays to be seen when its config is deleted, and the list has pages', async () => {
  const entityId = await api.addEntity('paged');
  const { backupConfigId } = await addSlot(entityId, 'one');
  await addSlot(entityId, 'two');
  expect((await api.send('DELETE', `/configs/${backupConfigId}`)).statusCode).toBe(204);
  const token = api.token('viewer', [entityId]);
  const first = await list('?limit=1', token);
  expect(first.items).toMatchObject([{ name: 'two' }]);
  const second = await list(`?limit=1&cursor=${first.nextCursor}`, token);
  expect(second).toMatchObject({ items: [{ name: 'one', backupConfigId }], nextCursor: null });
  expect((await api.send('GET', '/replication-slots?cursor=x')).json()).toMatchObject({ code: 'request_invalid' });
});

test('an operator forgets one that is to be dropped and cannot be, and no other', async () => {
  const entityId = await api.addEntity('forgetful');
  const failure = { code: 'postgresql_unreachable', message: 'away', isLasting: false };
  await addSlot(entityId, 'needed', { failure });
  const { backupConfigId } = await addSlot(entityId, 'left', { failure, isNeeded: false });
  const token = api.token('operator', [entityId]);
  const [left, needed] = (await list('', token)).items;
  const forget = (id = '', by = token) => api.send('DELETE', `/replication-slots/${id}`, undefined, { token: by });
  expect((await forget(left?.id, api.token('viewer', [entityId]))).json()).toMatchObject({ code: 'role_insufficient' });
  expect((await forget(left?.id, api.token('operator', [mine]))).json()).toMatchObject({ code: 'not_found' });
  expect((await forget(needed?.id)).json()).toMatchObject({ code: 'conflict', hint: expect.stringContaining('delete its config') });
  expect((await forget(left?.id)).statusCode).toBe(204);
  expect((await forget(left?.id)).json()).toMatchObject({ code: 'not_found' });
  expect(await names('', token)).toEqual(['needed']);
  const events = await readEvents(api.database.client, { after: 0n, entityIds: [entityId], subjectId: backupConfigId });
  expect(events.at(-1)).toMatchObject({ type: 'config.slot_forgotten', data: { slot: 'left', server: 'db:5432' } });
});
