import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { WireConnection } from '../wire/wire-connection.ts';

/**
 * The server's side of a conversation after the login, played by a test: it answers each statement with the bytes that `answer` gives for
 * it, in pieces when it gives several, and ends the connection after null.
 */
export interface ScriptedServer extends AsyncDisposable {
  readonly wire: WireConnection;
  readonly socket: Socket;
}

export async function startScriptedServer(
  answer: (sql: string) => readonly (Uint8Array | null)[],
  options: { readonly version?: string; readonly signal?: AbortSignal } = {},
): Promise<ScriptedServer> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const client = connect((listener.address() as { port: number }).port, '127.0.0.1').setNoDelay();
  const [socket] = (await once(listener, 'connection')) as [Socket];
  socket.setNoDelay();
  socket.on('error', () => undefined);
  let waiting = Buffer.alloc(0);
  socket.on('data', (bytes: Buffer) => {
    waiting = Buffer.concat([waiting, bytes]);
    while (waiting.length >= 5 && waiting.length > waiting.readUInt32BE(1)) {
      const length = waiting.readUInt32BE(1) + 1;
      if (waiting[0] === 0x51) {
        for (const piece of answer(waiting.toString('utf8', 5, length - 1))) {
          if (piece === null) socket.end();
          else socket.write(piece);
        }
      }
      waiting = waiting.subarray(length);
    }
  });
  const wire = new WireConnection({
    socket: client,
    parameters: new Map([['server_version', options.version ?? '15.18']]),
    place: { place: 'user@test:5432', user: 'user', database: 'postgres', isReplication: true },
    signal: options.signal ?? new AbortController().signal,
    cancel: async () => undefined,
  });
  const dispose = async (): Promise<void> => {
    await wire.close();
    socket.destroy();
    listener.close();
    await once(listener, 'close');
  };
  return { wire, socket, [Symbol.asyncDispose]: dispose };
}

export function message(type: string, body: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

/** RowDescription, DataRows and CommandComplete. */
export function resultSet(columns: readonly string[], rows: readonly (readonly (string | null)[])[]): Buffer {
  const described = columns.map((name) => Buffer.concat([Buffer.from(`${name}\0`), Buffer.alloc(18)]));
  const data = rows.map((row) => {
    const values = row.map((value) => (value === null ? int32(-1) : Buffer.concat([int32(Buffer.byteLength(value)), Buffer.from(value)])));
    return message('D', Buffer.concat([int16(row.length), ...values]));
  });
  return Buffer.concat([
    message('T', Buffer.concat([int16(columns.length), ...described])),
    ...data,
    message('C', Buffer.from('SELECT\0')),
  ]);
}

export function errorMessage(fields: Readonly<Record<string, string>>): Buffer {
  const text = Object.entries(fields).map(([letter, value]) => `${letter}${value}\0`);
  return message('E', Buffer.from(`${text.join('')}\0`));
}

export const readyMessage = message('Z', Buffer.from('I'));
export const copyOutMessage = message('H', Buffer.from([0, 0, 0]));
export const copyDoneMessage = message('c');

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
