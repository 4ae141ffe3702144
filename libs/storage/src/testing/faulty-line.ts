import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/**
 * A TCP line between a client and a server that can be cut, stalled and slowed. It counts what it really did: a test of faults
 * that never struck proves nothing.
 */
export interface FaultyLine extends AsyncDisposable {
  readonly host: '127.0.0.1';
  readonly port: number;
  /**
   * Once, when `afterBytes` more have gone in that direction over all connections together: the connection that carries the byte is
   * reset, or goes silent in both directions without being closed. Strikes wait in line: the next one counts from the last.
   */
  strike(fault: LineFault, direction: LineDirection, afterBytes: number): void;
  /** Forgets strikes that still wait, and resets connections that have gone silent. */
  heal(): void;
  /** Every byte arrives so much later, in both directions; as many as wish are on their way. For connections from now on. */
  setDelayMs(delayMs: number): void;
  readonly counts: Readonly<LineCounts>;
}

export type LineFault = 'cut' | 'stall';
/** `up`: from client to server. */
export type LineDirection = 'up' | 'down';

export interface LineCounts {
  connections: number;
  cuts: number;
  stalls: number;
  upBytes: number;
  downBytes: number;
}

interface Strike {
  readonly fault: LineFault;
  readonly direction: LineDirection;
  leftBytes: number;
}

interface Connection {
  readonly client: Socket;
  readonly server: Socket;
  isSilent: boolean;
}

export async function openFaultyLine(target: { readonly port: number }): Promise<FaultyLine> {
  const counts: LineCounts = { connections: 0, cuts: 0, stalls: 0, upBytes: 0, downBytes: 0 };
  const strikes: Strike[] = [];
  const open = new Set<Connection>();
  let delayMs = 0;

  const listener = createServer((client) => {
    const connection: Connection = { client, server: connect(target.port, '127.0.0.1'), isSilent: false };
    counts.connections += 1;
    open.add(connection);
    const { server } = connection;
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.setNoDelay();
      // Each side hears of the other's end, and of nothing else.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        open.delete(connection);
        if (!connection.isSilent) other.destroy();
      });
    }
    forward(connection, 'up', client, server);
    forward(connection, 'down', server, client);
  });

  const forward = (connection: Connection, direction: LineDirection, from: Socket, to: Socket): void => {
    const lateMs = delayMs;
    const later = (work: () => void): void => {
      if (lateMs === 0) work();
      else setTimeout(work, lateMs);
    };
    from.on('data', (chunk: Buffer) => {
      if (connection.isSilent) return;
      const passed = struck(connection, direction, chunk);
      if (direction === 'up') counts.upBytes += passed.byteLength;
      else counts.downBytes += passed.byteLength;
      later(() => {
        // Late chunks come while the line is paused for one of them.
        if (to.destroyed || to.write(passed) || from.isPaused()) return;
        from.pause();
        to.once('drain', () => from.resume());
      });
    });
    from.on('end', () => {
      if (!connection.isSilent) later(() => to.end());
    });
  };

  /** What still passes of a chunk; the rest is lost with the connection. */
  const struck = (connection: Connection, direction: LineDirection, chunk: Buffer): Buffer => {
    const [strike] = strikes;
    if (strike === undefined || strike.direction !== direction) return chunk;
    if (strike.leftBytes > chunk.byteLength) {
      strike.leftBytes -= chunk.byteLength;
      return chunk;
    }
    strikes.shift();
    const passed = chunk.subarray(0, strike.leftBytes);
    if (strike.fault === 'stall') {
      counts.stalls += 1;
      connection.isSilent = true;
    } else {
      counts.cuts += 1;
      reset(connection);
    }
    return passed;
  };

  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('the line has no port');
  return {
    host: '127.0.0.1',
    port: address.port,
    counts,
    strike: (fault, direction, afterBytes) => void strikes.push({ fault, direction, leftBytes: afterBytes }),
    heal() {
      strikes.length = 0;
      for (const connection of open) if (connection.isSilent) reset(connection);
    },
    setDelayMs: (ms) => void (delayMs = ms),
    async [Symbol.asyncDispose]() {
      const closed = once(listener, 'close');
      listener.close();
      for (const connection of open) reset(connection);
      await closed;
    },
  };
}

function reset({ client, server }: Connection): void {
  client.resetAndDestroy();
  server.resetAndDestroy();
}
