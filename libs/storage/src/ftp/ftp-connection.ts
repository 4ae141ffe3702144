import { posix } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { Client, FTPError, type FTPResponse } from 'basic-ftp';
import { silentConnection } from '../remote/http-agents.ts';
import { type DataSocket, type PassiveMode, openDataSocket, tlsOptionsFor } from './ftp-data-socket.ts';
import { type FtpEntry, parseListing, parseOneFact } from './ftp-entry.ts';
import { type Extent, retrieveBytes, retrieveListing, storeBytes } from './ftp-transfer.ts';

/**
 * A session at an FTP server: one command at a time, each answered before the next. Everything is done inside `guard`, which ends the
 * session when nothing moves on it; basic-ftp's own timeouts are off, for they do not see TLS settle.
 */
export interface FtpServer {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** The repository's folder, absolute or below the one in which the session begins. */
  readonly path: string;
  readonly tls: 'explicit' | 'implicit' | 'none';
  readonly caCertificate?: string | undefined;
  /** A session in which nothing moves for so long is ended. */
  readonly idleTimeoutMs: number;
}

/** Checks of an idle time. Time in which this process itself was busy must not count as the server's. */
const checksPerIdleTimeout = 10;
/** Between two transfers a session may be silent for long; what lies between must not forget it. */
const keepAliveMs = 30_000;

/** Connects, puts TLS on and logs in. Rejects with the signal's reason, FTPError, a connection's error, or one of ours. */
export async function openFtpConnection(server: FtpServer, signal?: AbortSignal): Promise<FtpConnection> {
  const connection = new FtpConnection(server);
  try {
    await connection.guard(() => connection.logIn(), signal);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

export class FtpConnection {
  readonly #server: FtpServer;
  readonly #client = new Client(0);
  readonly #passiveMode: PassiveMode = { command: 'EPSV' };
  #tls: ConnectionOptions | undefined;
  #data: DataSocket | undefined;
  #root = '/';
  #hasFacts = false;

  constructor(server: FtpServer) {
    this.#server = server;
  }

  /** Whether the server lists facts (MLSD, RFC 3659) instead of lines for people, which have no seconds in their dates. */
  get hasFacts(): boolean {
    return this.#hasFacts;
  }

  get isOpen(): boolean {
    return !this.#client.closed;
  }

  /** The absolute path of an object, of a folder with or without its slash, or of the repository's folder (`''`). */
  pathOf(name: string): string {
    const path = posix.join(this.#root, name);
    return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
  }

  /**
   * Does some work on this session. An abort, or a silence of the idle timeout, ends the session and rejects at once. Any error after
   * which it is not sure what the server will say next ends the session too.
   */
  async guard<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const { promise: ended, reject } = Promise.withResolvers<never>();
    const end = (reason: unknown): void => {
      reject(reason);
      this.close();
    };
    const onAbort = (): void => end(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const watch = this.#watch(() => end(silentConnection(this.#server.idleTimeoutMs)));
    try {
      return await Promise.race([work(), ended]);
    } catch (error) {
      const isSettled = error instanceof HoldfastError || (error instanceof FTPError && error.code !== 421);
      if (!isSettled) this.close();
      throw error;
    } finally {
      clearInterval(watch);
      signal?.removeEventListener('abort', onAbort);
      this.#endData();
    }
  }

  #watch(onSilent: () => void): NodeJS.Timeout {
    const { idleTimeoutMs } = this.#server;
    const intervalMs = Math.max(1, idleTimeoutMs / checksPerIdleTimeout);
    let movedBytes = -1;
    let silentMs = 0;
    return setInterval(() => {
      const nowBytes = this.#movedBytes();
      silentMs = nowBytes === movedBytes ? silentMs + intervalMs : 0;
      movedBytes = nowBytes;
      if (silentMs >= idleTimeoutMs) onSilent();
    }, intervalMs);
  }

  #movedBytes(): number {
    const { socket } = this.#client.ftp;
    return socket.bytesRead + socket.bytesWritten + (this.#data?.movedBytes() ?? 0);
  }

  async logIn(): Promise<void> {
    const { host, port, user, password, tls, caCertificate, path } = this.#server;
    const tlsOptions = tls === 'none' ? undefined : tlsOptionsFor(host, caCertificate);
    // A copy, for basic-ftp writes into it.
    if (tls === 'implicit') await this.#client.connectImplicitTLS(host, port, { ...tlsOptions });
    else await this.#client.connect(host, port);
    this.#client.ftp.socket.setKeepAlive(true, keepAliveMs);
    if (tls === 'explicit') await this.#client.useTLS({ ...tlsOptions });
    this.#tls = tlsOptions;
    try {
      await this.#client.login(user, password);
    } catch (error) {
      // Some server may quote what it was sent.
      if (!(error instanceof FTPError) || !error.message.includes(password)) throw error;
      throw new FTPError({ code: error.code, message: `${String(error.code)} login refused` });
    }
    const features = await this.#client.features();
    // Without it a server counts and changes line ends.
    await this.send('TYPE I');
    if (tlsOptions !== undefined) {
      await this.send('PBSZ 0');
      await this.send('PROT P');
    }
    if (features.has('UTF8')) await this.#client.sendIgnoringError('OPTS UTF8 ON');
    this.#hasFacts = features.has('MLST');
    if (this.#hasFacts) await this.#client.sendIgnoringError('OPTS MLST type;size;modify;');
    this.#root = path.startsWith('/') ? posix.join(path) : posix.join(await this.#home(), path);
  }

  /** `257 "/home/holdfast" is the current directory`; a quote in it is doubled. */
  async #home(): Promise<string> {
    const { message } = await this.send('PWD');
    const quoted = /"((?:[^"]|"")*)"/u.exec(message)?.[1]?.replaceAll('""', '"');
    if (quoted?.startsWith('/') === true) return quoted;
    throw new HoldfastError('storage_denied', 'the server does not say in which folder a session begins', {
      hint: 'give an absolute path',
    });
  }

  /** A command with one answer. Rejects with FTPError for an answer of 400 and above. */
  async send(command: string): Promise<FTPResponse> {
    return this.#client.send(command);
  }

  async sizeOf(path: string): Promise<number> {
    const { message } = await this.send(`SIZE ${path}`);
    const digits = /^213 (\d{1,15})(?:\D|$)/u.exec(message)?.[1];
    if (digits === undefined) throw new Error('no number in the reply to SIZE');
    return Number(digits);
  }

  async store(path: string, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    await storeBytes(this.#client, await this.#openData(), path, parts, signal);
  }

  async retrieve(path: string, extent: Extent, take: (chunk: Uint8Array) => void): Promise<void> {
    await retrieveBytes(this.#client, await this.#openData(), path, extent, take);
  }

  /** A folder's entries. Names that begin with a dot are there `withHidden`, or when the server shows them of itself. */
  async list(folder: string, { withHidden = false } = {}): Promise<FtpEntry[]> {
    // By the current folder: servers read options and patterns in what a listing is asked for.
    await this.send(`CWD ${folder}`);
    const command = this.#hasFacts ? 'MLSD' : withHidden ? 'LIST -a' : 'LIST';
    const { text, message } = await retrieveListing(this.#client, await this.#openData(), command);
    if (/truncated/iu.test(message)) {
      const hint = "raise the server's limit of entries in a listing (LimitRecursion of Pure-FTPd)";
      throw new HoldfastError('storage_denied', `the server cuts the listing of ${folder} short`, { context: { folder }, hint });
    }
    // vsftpd: `226 Transfer done (but failed to open directory).`
    if (/failed/iu.test(message)) throw new FTPError({ code: 550, message: message.replace(/^226/u, '550') });
    return parseListing(text);
  }

  /** MLST: the facts of one file or folder, in the words in which MLSD gives them. Only where the server has facts. */
  async factsOf(path: string): Promise<FtpEntry | undefined> {
    const { message } = await this.send(`MLST ${path}`);
    return parseOneFact(message);
  }

  close(): void {
    this.#endData();
    this.#client.close();
  }

  async #openData(): Promise<DataSocket> {
    this.#endData();
    this.#data = await openDataSocket(this.#client, this.#passiveMode, this.#tls, (opening) => (this.#data = opening));
    return this.#data;
  }

  #endData(): void {
    this.#data?.stream.destroy();
    this.#data = undefined;
  }
}
