import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  copyDoneMessage,
  copyOutMessage,
  errorMessage,
  message,
  readyMessage,
  resultSet,
  startScriptedServer,
} from '../testing/scripted-server.ts';
import { parseServerVersion } from './wire-connection.ts';

const withCode = (code: string, more: object = {}): unknown => expect.objectContaining({ code, ...more });

test('wherever the bytes are cut, the same events come', async () => {
  const data = [Buffer.from('first'), Buffer.alloc(0), Buffer.alloc(3_000, 'x')];
  const parameter = message('S', Buffer.from('TimeZone\0UTC\0'));
  const notice = message('N', Buffer.from('SNOTICE\0Mheard\0\0'));
  const rows = resultSet(
    ['a', 'b'],
    [
      ['1', null],
      ['grün', ''],
    ],
  );
  const all = Buffer.concat([
    parameter,
    rows,
    copyOutMessage,
    message('d', data[0]),
    notice,
    message('d', data[1]),
    message('d', data[2]),
    copyDoneMessage,
    readyMessage,
  ]);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(all.length), { maxLength: 12 }), async (cuts) => {
      const at = [0, ...cuts, all.length].toSorted((a, b) => a - b);
      await using server = await startScriptedServer(() => at.slice(1).map((end, index) => all.subarray(at[index], end)));
      const { wire } = server;
      wire.begin('anything');
      expect(await wire.next()).toEqual({
        kind: 'result',
        result: {
          columns: ['a', 'b'],
          rows: [
            ['1', null],
            ['grün', ''],
          ],
          tag: 'SELECT',
        },
      });
      expect(await wire.next()).toEqual({ kind: 'copy-out' });
      for (const expected of data) {
        expect(await wire.next()).toEqual({ kind: 'copy-data', sizeBytes: expected.length });
        const slices: Buffer[] = [];
        for (let slice = await wire.nextSlice(); slice !== null; slice = await wire.nextSlice()) slices.push(slice);
        expect(Buffer.concat(slices).equals(expected)).toBe(true);
      }
      expect(await wire.next()).toEqual({ kind: 'copy-done' });
      expect(await wire.next()).toEqual({ kind: 'ready' });
      expect(wire.parameters.get('TimeZone')).toBe('UTC');
      expect(wire.notices).toEqual(['heard']);
    }),
    { numRuns: 30 },
  );
});

test('data that nobody takes are skipped', async () => {
  await using server = await startScriptedServer(() => [
    copyOutMessage,
    message('d', Buffer.alloc(200_000)),
    copyDoneMessage,
    readyMessage,
  ]);
  server.wire.begin('anything');
  const kinds: string[] = [];
  for (let kind = ''; kind !== 'ready'; kinds.push(kind)) ({ kind } = await server.wire.next());
  expect(kinds).toEqual(['copy-out', 'copy-data', 'copy-done', 'ready']);
});

test('an error is told once the server is ready, and the next statement runs', async () => {
  const failure = errorMessage({ S: 'FEHLER', V: 'ERROR', C: '53100', M: 'Platte voll' });
  await using server = await startScriptedServer((sql) =>
    sql === 'bad' ? [failure, readyMessage] : [resultSet(['a'], [['1']]), readyMessage],
  );
  await expect(server.wire.query('bad')).rejects.toThrow(
    withCode('postgresql_disk_full', { retry: 'later', message: 'user@test:5432: Platte voll' }),
  );
  expect((await server.wire.query('good'))[0]?.rows).toEqual([['1']]);
});

test('the last word of a server that ends the connection is what is told', async () => {
  await using server = await startScriptedServer(() => [errorMessage({ V: 'FATAL', C: '57P01', M: 'going down' }), null]);
  await expect(server.wire.query('anything')).rejects.toThrow(
    withCode('postgresql_interrupted', { message: 'user@test:5432: going down' }),
  );
  await expect(server.wire.query('anything')).rejects.toThrow(withCode('postgresql_interrupted'));
});

test.each([
  ['a type that there is not', message('!', Buffer.from('x'))],
  ['a length that cannot be', Buffer.from('T\0\0\0\x01')],
  ['a message that is too long', Buffer.from('T\x7f\xff\xff\xff', 'latin1')],
])('%s ends the conversation', async (_, bytes) => {
  await using server = await startScriptedServer(() => [bytes]);
  await expect(server.wire.query('anything')).rejects.toThrow(withCode('postgresql_interrupted'));
  expect(() => server.wire.begin('anything')).toThrow(withCode('postgresql_interrupted'));
});

test('what is not taken is not received either', async () => {
  const piece = message('d', Buffer.alloc(100_000, 'x'));
  await using server = await startScriptedServer(() => [
    copyOutMessage,
    ...Array.from({ length: 200 }, () => piece),
    copyDoneMessage,
    readyMessage,
  ]);
  const { wire } = server;
  wire.begin('anything');
  await delay(200);
  expect(wire.receivedBytes).toBeGreaterThan(100_000);
  expect(wire.receivedBytes).toBeLessThan(2_000_000);
  let takenBytes = 0;
  for (let event = await wire.next(); event.kind !== 'ready'; event = await wire.next()) {
    if (event.kind === 'copy-data') takenBytes += (await wire.wholeData()).length;
  }
  expect(takenBytes).toBe(20_000_000);
});

test('an abort ends it at once, with its reason', async () => {
  const abort = new AbortController();
  await using server = await startScriptedServer(() => [copyOutMessage], { signal: abort.signal });
  server.wire.begin('anything');
  expect(await server.wire.next()).toEqual({ kind: 'copy-out' });
  const waiting = server.wire.next();
  abort.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
});

test.each([
  ['15.18 (Debian 15.18-0+deb12u1)', 150_018],
  ['14.2', 140_002],
  ['19devel', 190_000],
  ['', 0],
])('version %j', (text, version) => expect(parseServerVersion(text)).toBe(version));
