import { once } from 'node:events';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { TLSSocket, connect as connectTls, type ConnectionOptions } from 'node:tls';
import { type Client, FTPError } from 'basic-ftp';

/**
 * The second connection, which FTP opens for each transfer and each listing: the server names a port (passive mode), we connect to it at
 * the host that we speak to already, whatever address the server names. basic-ftp's own data connections are not taken: they refuse
 * servers behind address translation instead of passing over the address, end an empty upload before TLS stands, end the session with a
 * read that was cut short, and are not watched while TLS settles.
 */
export interface DataSocket {
  readonly stream: Socket;
  /** Resolves when bytes can go: with TLS only after its handshake, which a server begins when it has taken the command. */
  readonly ready: Promise<void>;
  /** Of both directions so far, those of the handshake among them. */
  movedBytes(): number;
}

/** RFC 2428: `229 Entering Extended Passive Mode (|||6446|)`; some servers write another sign for the bar. */
const epsvPattern = /\(([^\d\s])\1\1(\d{1,5})\1\)/u;
/** RFC 959: `227 Entering Passive Mode (192,168,1,100,10,229)`; some servers leave out the brackets. */
const pasvPattern = /(?<!\d)(?:\d{1,3},){4}(\d{1,3}),(\d{1,3})(?!\d)/u;

/** The port of a reply to EPSV or PASV, undefined when there is none. The address in it is not looked at. */
export function passivePort(message: string): number | undefined {
  const extended = epsvPattern.exec(message)?.[2];
  if (extended !== undefined) return validPort(Number(extended));
  const plain = pasvPattern.exec(message);
  return plain === null ? undefined : validPort(Number(plain[1]) * 256 + Number(plain[2]));
}

function validPort(port: number): number | undefined {
  return port >= 1 && port <= 65_535 ? port : undefined;
}

/** What a session learned about its server; EPSV is not asked for twice where it is not known. */
export interface PassiveMode {
  command: 'EPSV' | 'PASV';
}

/** `tls` is the control connection's own options: the same certificate is asked for. Rejects with FTPError or a connection's error. */
export async function openDataSocket(
  client: Client,
  mode: PassiveMode,
  tls: ConnectionOptions | undefined,
  onOpening: (socket: DataSocket) => void,
): Promise<DataSocket> {
  const port = await askForPort(client, mode);
  const host = client.ftp.socket.remoteAddress;
  if (host === undefined) throw new Error('the control connection is gone');
  const raw = connectTcp({ host, port });
  // Whoever uses the stream hears of an error by it; without a listener it would end the process.
  raw.on('error', () => undefined);
  onOpening({ stream: raw, ready: Promise.resolve(), movedBytes: () => raw.bytesRead + raw.bytesWritten });
  await once(raw, 'connect');
  if (tls === undefined) return { stream: raw, ready: Promise.resolve(), movedBytes: () => raw.bytesRead + raw.bytesWritten };
  return sealed(client, raw, tls);
}

async function askForPort(client: Client, mode: PassiveMode): Promise<number> {
  for (;;) {
    try {
      const { message } = await client.send(mode.command);
      const port = passivePort(message);
      if (port === undefined) throw new Error(`no port in the reply to ${mode.command}`);
      return port;
    } catch (error) {
      if (mode.command === 'PASV' || !(error instanceof FTPError) || error.code < 500) throw error;
      mode.command = 'PASV';
    }
  }
}

function sealed(client: Client, raw: Socket, tls: ConnectionOptions): DataSocket {
  const control = client.ftp.socket;
  // Servers take a data connection only from who holds the session of the control connection: nobody else can slip in at the port.
  const session = client.ftp.tlsSessionStore ?? (control instanceof TLSSocket ? control.getSession() : undefined);
  const stream = connectTls({ ...tls, socket: raw, ...(session === undefined ? {} : { session }) });
  // A session of TLS 1.3 is good for one connection: the next one goes with what this one was given.
  stream.on('session', (next) => (client.ftp.tlsSessionStore = next));
  stream.on('error', () => undefined);
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  stream.once('secureConnect', resolve);
  stream.once('error', reject);
  stream.once('close', () => reject(new Error('the data connection ended before TLS stood')));
  // Who does not get to wait for it, hears of the same by the command's reply.
  ready.catch(() => undefined);
  return { stream, ready, movedBytes: () => raw.bytesRead + raw.bytesWritten + stream.bytesRead + stream.bytesWritten };
}

/** What TLS asks of the server, for the control connection and every data connection. */
export function tlsOptionsFor(host: string, caCertificate: string | undefined): ConnectionOptions {
  return {
    host,
    minVersion: 'TLSv1.2',
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(caCertificate === undefined ? {} : { ca: caCertificate }),
  };
}
