import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'node:net';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { appendEvent, latestSequence } from '@holdfast/database/events';
import { inTransaction } from '@holdfast/database/in-transaction';
import { claimRun, finishRun } from '@holdfast/database/runs';
import { backupResult, configBody, endRun, eventually, startTestApi, type TestApi } from '../testing/test-api.ts';

interface Block {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: { sequence: number; type: string; subjectId: string; businessEntityId: string; progress?: object } | undefined;
}

let api: TestApi;
let address: string;
let entityId: string;
let otherId: string;
let configId: string;
const open = new Set<AbortController>();
beforeAll(async () => {
  api = await startTestApi();
  address = await api.server.listen({ host: '127.0.0.1', port: 0 });
  entityId = await api.addEntity('events');
  otherId = await api.addEntity('events, other');
  configId = (await api.send('POST', '/configs', configBody(entityId))).json<{ id: string }>().id;
});
afterEach(() => {
  for (const controller of open) controller.abort();
  open.clear();
});
afterAll(() => api[Symbol.asyncDispose]());

/** Follows the stream until the test ends; `blocks` grows. */
async function follow(query = '', headers: Record<string, string> = {}, token = api.token('viewer')) {
  const controller = new AbortController();
  open.add(controller);
  const response = await fetch(`${address}/api/backup/events${query}`, {
    headers: { authorization: `Bearer ${token}`, ...headers },
    signal: controller.signal,
  });
  const blocks: Block[] = [];
  let ended = false;
  let raw = '';
  const read = async (): Promise<void> => {
    if (response.body === null) return;
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      raw += chunk;
      const whole = raw.split('\n\n');
      raw = whole.pop() ?? '';
      blocks.push(...whole.map(parseBlock));
    }
  };
  void read()
    .catch(() => undefined)
    .finally(() => (ended = true));
  return {
    response,
    states: () => blocks.filter(({ event }) => event === 'state').map(({ data }) => data),
    progress: () => blocks.filter(({ event }) => event === 'progress').map(({ data }) => data),
    lastId: () => blocks.findLast(({ id }) => id !== undefined)?.id,
    live: () => eventually(() => (blocks.some(({ id }) => id !== undefined) ? true : undefined)),
    until: (type: string) => eventually(() => blocks.find(({ data }) => data?.type === type)?.data),
    ended: () => eventually(() => (ended ? true : undefined)),
    isEnded: () => ended,
    stop: () => controller.abort(),
  };
}

function parseBlock(text: string): Block {
  const field = (name: string) =>
    text
      .split('\n')
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2);
  const data = field('data');
  return { id: field('id'), event: field('event'), data: data === undefined ? undefined : (JSON.parse(data) as Block['data']) };
}

const addJob = async () => (await api.send('POST', '/jobs', { backupConfigId: configId })).json<{ id: string }>().id;
const types = (states: readonly Block['data'][]) => states.map((state) => state?.type);

describe('the event stream', () => {
  test('tells states in their order as they happen', async () => {
    const reader = await follow();
    expect(reader.response.headers.get('content-type')).toContain('text/event-stream');
    expect(reader.response.headers.get('x-content-type-options')).toBe('nosniff');
    await reader.live();
    const id = await addJob();
    const claim = await claimRun(api.database, 'backup', id, { workerId: 'w' });
    if (claim === null) throw new Error('not claimed');
    await finishRun(api.database, claim, { status: 'completed', result: backupResult });
    expect(await reader.until('backup.completed')).toMatchObject({
      subjectKind: 'backup',
      subjectId: id,
      businessEntityId: entityId,
      data: { status: 'completed' },
    });
    // What was logged just before it came may be told too: the feed's own reading is a moment behind the log.
    const states = reader.states().filter((state) => state?.subjectId === id);
    expect(types(states)).toEqual(['backup.queued', 'backup.running', 'backup.completed']);
    const sequences = states.map((state) => state?.sequence ?? 0);
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
    expect(String(sequences.at(-1))).toBe(reader.lastId());
  });

  test('replays what came after Last-Event-ID, and goes on without gap or repetition', async () => {
    const before = await latestSequence(api.database.client);
    const ids = [await addJob(), await addJob(), await addJob()];
    const reader = await follow('', { 'last-event-id': String(before) });
    const more: Promise<string>[] = [];
    for (let made = 0; made < 10; made++) more.push(addJob());
    ids.push(...(await Promise.all(more)));
    await eventually(() => (reader.states().length >= ids.length ? true : undefined));
    await delay(100);
    expect(new Set(reader.states().map((state) => state?.subjectId))).toEqual(new Set(ids));
    expect(reader.states()).toHaveLength(ids.length);
    const sequences = reader.states().map((state) => state?.sequence ?? 0);
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));

    const middle = sequences[4];
    const resumed = await follow(`?after=${middle}`);
    await eventually(() => (resumed.states().length >= ids.length - 5 ? true : undefined));
    expect(resumed.states().map((state) => state?.sequence)).toEqual(sequences.slice(5));
    const headerFirst = await follow(`?after=0`, { 'last-event-id': String(sequences.at(-2)) });
    await headerFirst.live();
    expect(headerFirst.states().map((state) => state?.sequence)).toEqual(sequences.slice(-1));
  });

  test('replays a long log whole', async () => {
    const before = await latestSequence(api.database.client);
    await inTransaction(api.database, async (tx) => {
      for (let made = 0; made < 350; made++) {
        await appendEvent(tx, {
          businessEntityId: otherId,
          type: 'config.updated',
          subjectKind: 'config',
          subjectId: `long${made}`,
          data: { made },
        });
      }
    });
    const reader = await follow(`?after=${before}&entityId=${otherId}`);
    await reader.live();
    expect(reader.states().map((state) => state?.subjectId)).toEqual(Array.from({ length: 350 }, (_, made) => `long${made}`));
  });

  test('shows a token its entities only, and one subject when asked', async () => {
    const mine = await follow('', {}, api.token('viewer', [entityId]));
    const others = await follow('', {}, api.token('viewer', [otherId]));
    const narrowed = await follow(`?entityId=${otherId}`);
    await Promise.all([mine.live(), others.live(), narrowed.live()]);
    const id = await addJob();
    const one = await follow(`?subjectId=${id}&after=0`);
    await api.send('POST', '/service/stop');
    await api.send('POST', '/service/start');
    await endRun(api.database, 'backup', id, { status: 'failed', error: { code: 'path_not_found', message: 'gone' } });
    await mine.until('backup.failed');
    await one.until('backup.failed');
    expect(types(mine.states())).toEqual(['backup.queued', 'backup.running', 'backup.failed']);
    expect(types(one.states())).toEqual(['backup.queued', 'backup.running', 'backup.failed']);
    expect([...others.states(), ...narrowed.states()]).toEqual([]);
    const all = await follow('?after=0');
    await all.until('service.resumed');
  });

  test('passes on progress, to those who may see it', async () => {
    const [reader, other] = [await follow(), await follow('', {}, api.token('viewer', [otherId]))];
    await Promise.all([reader.live(), other.live()]);
    const id = await addJob();
    const value = {
      phase: 'archive',
      filesDone: 1,
      filesTotal: 2,
      bytesDone: 10,
      bytesTotal: null,
      bytesPerSecond: 5,
      elapsedMs: 2,
      remainingMs: null,
    };
    const job = await api.queues.byName.backup.getJob(id);
    await eventually(async () => {
      await job?.updateProgress(value);
      return reader.progress().length > 0 ? true : undefined;
    });
    expect(reader.progress()[0]).toEqual({ subjectKind: 'backup', subjectId: id, businessEntityId: entityId, progress: value });
    expect(other.progress()).toEqual([]);
  });

  test('ends with its token', async () => {
    const token = api.server.jwt.sign({ sub: 's', role: 'viewer', entities: '*' }, { expiresIn: '1s' });
    const reader = await follow('', {}, token);
    await expect(reader.ended()).resolves.toBe(true);
  });

  test('cuts off a reader that does not read, and keeps the others', async () => {
    const { port } = new URL(address);
    const slow = connect(Number(port), '127.0.0.1');
    slow.on('error', () => undefined);
    slow.write(`GET /api/backup/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.token('viewer')}\r\n\r\n`);
    await once(slow, 'data');
    slow.pause();
    const quick = await follow();
    await quick.live();
    const countBefore = api.eventFeed.subscriberCount;
    const filler = 'x'.repeat(100_000);
    // Sockets of the system hold some megabytes before anything waits here.
    for (let sent = 0; sent < 150 && api.eventFeed.subscriberCount >= countBefore; sent++) {
      await inTransaction(api.database, (tx) =>
        appendEvent(tx, {
          businessEntityId: otherId,
          type: 'config.updated',
          subjectKind: 'config',
          subjectId: `big${sent}`,
          data: { filler },
        }),
      );
      // At the pace of the quick one: on a loaded machine it may else fall behind as well.
      await eventually(() => quick.states().find((state) => state?.subjectId === `big${sent}`));
    }
    await eventually(() => (api.eventFeed.subscriberCount < countBefore ? true : undefined));
    slow.destroy();
    expect(quick.isEnded()).toBe(false);
    const id = await addJob();
    await eventually(() => quick.states().find((state) => state?.subjectId === id));
  });

  test.each(['after=x', 'after=-1', 'after=99999999999999999999', 'colour=1', 'entityId=%27'])('refuses %s', async (query) => {
    expect((await api.send('GET', `/events?${query}`)).json()).toMatchObject({ status: 400, code: 'request_invalid' });
  });

  test('takes a number beyond the log for its end', async () => {
    const reader = await follow('?after=9000000000000000000');
    await reader.live();
    const id = await addJob();
    expect(await eventually(() => reader.states().find((state) => state?.subjectId === id))).toMatchObject({ type: 'backup.queued' });
  });

  test('readers are forgotten when they leave', async () => {
    const none = () => eventually(() => (api.eventFeed.subscriberCount === 0 ? true : undefined));
    await none();
    const reader = await follow();
    expect(api.eventFeed.subscriberCount).toBe(1);
    reader.stop();
    await none();
  });
});

test('a server that stops ends its streams at once', async () => {
  await using own = await startTestApi();
  const at = await own.server.listen({ host: '127.0.0.1', port: 0 });
  const response = await fetch(`${at}/api/backup/events`, { headers: { authorization: `Bearer ${own.token('viewer')}` } });
  const reading = response.text();
  const startedAtMs = performance.now();
  await own.server.close();
  expect(await reading).toContain(': connected');
  expect(performance.now() - startedAtMs).toBeLessThan(2_000);
});
