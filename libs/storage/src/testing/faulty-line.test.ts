import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { type FaultyLine, openFaultyLine } from './faulty-line.ts';

const silentMs = 500;

it('carries bytes both ways and counts them', async () => {
  const { line, open } = await lineToEcho();
  const socket = await open();
  expect(await echoed(socket, 100_000)).toBe(100_000);
  expect(line.counts).toEqual({ connections: 1, cuts: 0, stalls: 0, upBytes: 100_000, downBytes: 100_000 });
});

it('cuts at the byte that was asked for, once, and takes the next connection', async () => {
  const { line, open } = await lineToEcho();
  line.strike('cut', 'up', 70_000);
  const socket = await open();
  socket.write(Buffer.alloc(100_000));
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNRESET');
  expect(line.counts).toMatchObject({ cuts: 1, upBytes: 70_000 });
  expect(await echoed(await open(), 1000)).toBe(1000);
});

it('goes silent without closing, until it is healed', async () => {
  const { line, open } = await lineToEcho();
  line.strike('stall', 'down', 10);
  const socket = await open();
  const closed = once(socket, 'error').then(() => 'closed');
  expect(await echoed(socket, 1000)).toBe(10);
  expect(await Promise.race([closed, sleep(100, 'open')])).toBe('open');
  expect(line.counts).toMatchObject({ stalls: 1, cuts: 0 });
  line.heal();
  expect(await closed).toBe('closed');
});

it('lets strikes wait in line', async () => {
  const { line, open } = await lineToEcho();
  line.strike('cut', 'up', 10);
  line.strike('cut', 'up', 10);
  for (let index = 0; index < 2; index += 1) {
    const socket = await open();
    socket.write(Buffer.alloc(15));
    await once(socket, 'error');
  }
  expect(line.counts.cuts).toBe(2);
});

it('delays every byte and loses none', async () => {
  const { line, open } = await lineToEcho();
  line.setDelayMs(50);
  const socket = await open();
  const startedAtMs = performance.now();
  expect(await echoed(socket, 500_000)).toBe(500_000);
  // A timer may end a fraction of a millisecond early.
  expect(performance.now() - startedAtMs).toBeGreaterThan(99);
});

async function lineToEcho(): Promise<{ line: FaultyLine; open: () => Promise<Socket> }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const line = await openFaultyLine(server.address() as { port: number });
  onTestFinished(async () => {
    await line[Symbol.asyncDispose]();
    server.close();
  });
  const open = async (): Promise<Socket> => {
    const socket = connect(line.port, line.host);
    await once(socket, 'connect');
    onTestFinished(() => void socket.destroy());
    return socket;
  };
  return { line, open };
}

/** Bytes that came back of so many, when for half a second no more came. */
async function echoed(socket: Socket, sizeBytes: number): Promise<number> {
  let count = 0;
  const silent = Promise.withResolvers<void>();
  const timer = setTimeout(silent.resolve, silentMs);
  const receive = (chunk: Buffer): void => {
    count += chunk.byteLength;
    timer.refresh();
    if (count >= sizeBytes) silent.resolve();
  };
  socket.on('data', receive);
  socket.write(Buffer.alloc(sizeBytes));
  await silent.promise;
  clearTimeout(timer);
  socket.off('data', receive);
  return count;
}
