import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions as TlsConnectOptions } from 'node:tls';

/** Whatever waits for a cancellation waits no longer than this. */
export const cancelLimitMs = 1_000;

const cancelCode = 80_877_102;
const tlsCode = 80_877_103;

export interface CancelTarget {
  readonly host: string;
  readonly port: number;
  readonly processId: number;
  readonly secretKey: number;
  /** As for the connection itself: the key is a secret. Null for none. */
  readonly tls: TlsConnectOptions | null;
}

/**
 * Asks the server to cancel what another connection is doing. The server answers nothing, so nothing says whether it did; a server
 * that cannot be reached within `cancelLimitMs` is left alone. Never rejects.
 */
export async function requestCancel(target: CancelTarget): Promise<void> {
  const signal = AbortSignal.timeout(cancelLimitMs);
  let socket: Socket | null = null;
  try {
    socket = connect(target.port, target.host);
    await once(socket, 'connect', { signal });
    if (target.tls !== null) {
      socket.write(int32s(8, tlsCode));
      const [answer]: unknown[] = await once(socket, 'data', { signal });
      if (String(answer) !== 'S') return;
      socket = connectTls({ ...target.tls, socket });
      await once(socket, 'secureConnect', { signal });
    }
    socket.end(int32s(16, cancelCode, target.processId, target.secretKey));
    socket.resume();
    await once(socket, 'close', { signal });
  } catch {
    // Best effort: the connection itself is closed as well, which ends the statement as soon as the server writes to it.
  } finally {
    socket?.destroy();
  }
}

function int32s(...numbers: number[]): Buffer {
  const bytes = Buffer.alloc(4 * numbers.length);
  numbers.forEach((number, index) => bytes.writeInt32BE(number | 0, 4 * index));
  return bytes;
}
