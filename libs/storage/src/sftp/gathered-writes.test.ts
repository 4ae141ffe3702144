import { once } from 'node:events';
import { connect, createServer, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { expect, test, vi } from 'vitest';
import { gatherWrites } from './gathered-writes.ts';

test('what is written in one turn goes out as one piece, in its order, and what is written at the end too', async () => {
  const received = Promise.withResolvers<Buffer>();
  const server = createServer((socket) => void buffer(socket).then(received.resolve, received.reject)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  const socket = connect({ host: '127.0.0.1', port: address.port });
  await once(socket, 'connect');
  const [writing, gathering] = [vi.spyOn(Socket.prototype, '_write'), vi.spyOn(Socket.prototype, '_writev' as '_write')];
  gatherWrites(socket);
  for (const text of ['a', 'b', 'c']) socket.write(text);
  await new Promise(setImmediate);
  expect([writing.mock.calls.length, gathering.mock.calls.length]).toEqual([0, 1]);
  socket.write('d');
  socket.write('e');
  socket.end('f');
  expect((await received.promise).toString()).toBe('abcdef');
  expect([writing.mock.calls.length, gathering.mock.calls.length]).toEqual([0, 2]);
  vi.restoreAllMocks();
  server.close();
});
