import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** An address of 127.0.0.1 that leads to a server: to another one later, as after a failover, or slowly. */
export interface ServerProxy extends AsyncDisposable {
  readonly host: '127.0.0.1';
  readonly port: number;
  /** For connections that begin from now on. */
  leadTo(target: { readonly port: number }): void;
  /** What the server sends, on each connection; also on those that are open. */
  limit(bytesPerS: number): void;
}

export async function startServerProxy(first: { readonly port: number }): Promise<ServerProxy> {
  let { port: targetPort } = first;
  let bytesPerS = Number.POSITIVE_INFINITY;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(targetPort, '127.0.0.1');
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket.setNoDelay());
      // Each hears of the other's end, and of nothing else.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.pipe(upstream);
    forward(upstream, client).catch(() => client.destroy());
  });
  const forward = async (from: Socket, to: Socket): Promise<void> => {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      if (!to.write(chunk)) await once(to, 'drain');
      if (bytesPerS !== Number.POSITIVE_INFINITY) await delay((chunk.length / bytesPerS) * 1000);
    }
    to.end();
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    host: '127.0.0.1',
    port: address.port,
    leadTo({ port }) {
      targetPort = port;
    },
    limit(rate) {
      bytesPerS = rate;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
