import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { SocketReader } from './socket-reader.ts';

/** A reader whose other side is `behave`. */
async function reader(behave: (socket: Socket) => void, silenceLimitMs = 10_000): Promise<{ reader: SocketReader } & AsyncDisposable> {
  const server = createServer(behave).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  const socket = connect(address.port, '127.0.0.1');
  await once(socket, 'connect');
  return {
    reader: new SocketReader(socket, { place: 'default@cache:6379', silenceLimitMs, signal: new AbortController().signal }),
    [Symbol.asyncDispose]: async () => {
      socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

test('lines and bytes, however they arrive', async () => {
  await using server = await reader((socket) => {
    socket.setNoDelay(true);
    const bytes = Buffer.from('\n\r\n+OK\r\n$5\r\nhello\r\nrest');
    const say = (at: number): void => void (at < bytes.length ? socket.write(bytes.subarray(at, at + 1), () => say(at + 1)) : socket.end());
    say(0);
  });
  expect([await server.reader.line(), await server.reader.line(), await server.reader.line(), await server.reader.line()]).toEqual([
    '',
    '',
    '+OK',
    '$5',
  ]);
  expect((await server.reader.exactly(7)).toString()).toBe('hello\r\n');
  expect((await server.reader.exactly(4)).toString()).toBe('rest');
  await expect(server.reader.some(1)).rejects.toMatchObject({
    code: 'redis_interrupted',
    message: expect.stringContaining('closed') as string,
  });
});

test('a server that falls silent is not waited for', async () => {
  await using server = await reader((socket) => socket.write('+O'), 50);
  await expect(server.reader.line()).rejects.toMatchObject({ code: 'redis_interrupted', retry: 'later' });
});

test('what is no Redis ends at a limit', async () => {
  await using server = await reader((socket) => socket.on('error', () => {}).write(Buffer.alloc(1_000_000, 'x')));
  await expect(server.reader.line()).rejects.toMatchObject({ code: 'redis_failed' });
  await expect(server.reader.exactly(2 ** 40)).rejects.toThrow('announces an answer');
});
