import { once } from 'node:events';
import { type Socket, connect, createServer } from 'node:net';
import { type FaultyLine, type LineDirection, type LineFault, openFaultyLine } from './faulty-line.ts';

/**
 * A faulty line to an FTP server, for sessions without TLS: it rewrites the port in each reply to EPSV, so that data connections go over
 * lines of their own, which can be struck too.
 */
export interface FtpLine extends AsyncDisposable {
  readonly port: number;
  /** The line of all control connections. */
  readonly control: FaultyLine;
  /** For the next data connection that has no strike yet. */
  strikeData(fault: LineFault, direction: LineDirection, afterBytes: number): void;
  /** Strikes really made, over all lines. */
  struck(): { readonly cuts: number; readonly stalls: number; readonly dataStrikes: number };
}

type Strike = readonly [LineFault, LineDirection, number];

export async function openFtpLine(server: { readonly port: number }): Promise<FtpLine> {
  const lines: FaultyLine[] = [];
  const strikes: Strike[] = [];
  const sockets = new Set<Socket>();

  const lineTo = async (port: number): Promise<number> => {
    const line = await openFaultyLine({ port });
    lines.push(line);
    const strike = strikes.shift();
    if (strike !== undefined) line.strike(...strike);
    return line.port;
  };
  const front = createServer((client) => {
    const target = connect(server.port, '127.0.0.1');
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay();
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (chunk) => target.write(chunk));
    let before = Promise.resolve();
    target.on('data', (chunk: Buffer) => {
      const pass = async (): Promise<void> => {
        const text = chunk.toString('latin1');
        const port = /^229 .*\(\|\|\|(\d+)\|\)/mu.exec(text)?.[1];
        const passed = port === undefined ? text : text.replace(`|||${port}|`, `|||${String(await lineTo(Number(port)))}|`);
        client.write(Buffer.from(passed, 'latin1'));
      };
      before = before.then(pass);
    });
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  const address = front.address();
  if (address === null || typeof address === 'string') throw new Error('the line has no port');
  const control = await openFaultyLine({ port: address.port });
  const sum = (name: 'cuts' | 'stalls', of: readonly FaultyLine[]): number => of.reduce((total, { counts }) => total + counts[name], 0);
  return {
    port: control.port,
    control,
    strikeData: (...strike) => void strikes.push(strike),
    struck: () => ({
      cuts: sum('cuts', [control, ...lines]),
      stalls: sum('stalls', [control, ...lines]),
      dataStrikes: sum('cuts', lines) + sum('stalls', lines),
    }),
    async [Symbol.asyncDispose]() {
      await control[Symbol.asyncDispose]();
      await Promise.all(lines.map((line) => line[Symbol.asyncDispose]()));
      const closed = once(front, 'close');
      front.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
