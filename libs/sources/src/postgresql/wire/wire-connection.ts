import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { connectionError, serverError, type Activity, type ErrorPlace } from '../postgresql-error.ts';
import { backendType, decodeColumns, decodeComplaint, decodeRow, decodeText, type ResultSet } from './backend-message.ts';
import { ByteReader } from './byte-reader.ts';

/**
 * A conversation with a PostgreSQL server after the login, by the simple query protocol, with every kind of COPY. Somebody else (pg)
 * has done TLS and the login; the socket is ours from then on. One conversation at a time:
 *
 *     begin(sql)  →  next(): result … | copy-in | copy-out | copy-both  →  copy-data (nextSlice …) … copy-done  →  ready
 *
 * Notices, changed parameters and notifications are taken on the way.
 */
export type WireEvent =
  | { readonly kind: 'result'; readonly result: ResultSet }
  | { readonly kind: 'copy-out' | 'copy-in' | 'copy-both' | 'copy-done' | 'ready' }
  /** What `nextSlice` gives; what of it is not taken is skipped. */
  | { readonly kind: 'copy-data'; readonly sizeBytes: number };

export interface WireSetup {
  readonly socket: Socket;
  readonly parameters: Map<string, string>;
  readonly place: Omit<ErrorPlace, 'activity'>;
  readonly signal: AbortSignal;
  /** Asks the server to end what it does. Never rejects. */
  readonly cancel: () => Promise<void>;
}

/** Rows, errors and notices; longer ones are no answer to anything that is asked here. COPY data have no limit: they are not held. */
const maxMessageBytes = 64 * 1024 * 1024;
/** The last ones are kept, for whoever asks. */
const maxNoticeCount = 100;
/** For the server to close its side, once it was told. */
const closeLimitMs = 2_000;

const copyDone: WireEvent = { kind: 'copy-done' };
const ready: WireEvent = { kind: 'ready' };
const headerBytes = 5;

export class WireConnection implements AsyncDisposable {
  /** As the server said them last: server_version, TimeZone… */
  readonly parameters: ReadonlyMap<string, string>;
  readonly notices: string[] = [];
  readonly #setup: WireSetup;
  readonly #reader: ByteReader;
  /** Bytes of the current message that were not taken yet; only of CopyData. */
  #left = 0;
  #columns: string[] | null = null;
  #rows: (string | null)[][] = [];
  #error: HoldfastError | null = null;
  #isBusy = false;
  #activity: Activity = 'querying';
  #encoding: BufferEncoding = 'utf8';
  #closing: Promise<void> | null = null;
  #cancelling: Promise<void> | null = null;

  constructor(setup: WireSetup) {
    this.#setup = setup;
    this.parameters = setup.parameters;
    this.#reader = new ByteReader(setup.socket, (error) =>
      connectionError(error ?? new Error('the server closed the connection'), { ...setup.place, activity: 'querying' }),
    );
    setup.signal.addEventListener('abort', this.#onAbort, { once: true });
    if (setup.signal.aborted) this.#onAbort();
  }

  /** 150_018 for 15.18. */
  get serverVersion(): number {
    return parseServerVersion(this.parameters.get('server_version') ?? '');
  }

  /** All bytes that arrived since the login. */
  get receivedBytes(): number {
    return this.#reader.receivedBytes;
  }

  /** Sends a statement or a replication command. Its events are taken by `next` until `ready`; its errors are about `activity`. */
  begin(sql: string, activity: Activity = 'querying', encoding: BufferEncoding = 'utf8'): void {
    this.#reader.throwIfEnded();
    invariant(!this.#isBusy, 'the connection has not ended its last statement');
    this.#isBusy = true;
    this.#error = null;
    this.#activity = activity;
    this.#encoding = encoding;
    this.#send(0x51, Buffer.from(`${sql}\0`));
  }

  /** Runs statements that copy nothing; `latin1` gives values byte by byte. Errors of the server reject it, after which the connection can be used again. */
  async query(sql: string, activity: Activity = 'querying', encoding: BufferEncoding = 'utf8'): Promise<ResultSet[]> {
    const results: ResultSet[] = [];
    this.begin(sql, activity, encoding);
    for (;;) {
      const event = await this.next();
      if (event.kind === 'ready') return results;
      if (event.kind === 'result') results.push(event.result);
      else invariant(event.kind === 'copy-data' || event.kind === 'copy-done', `a ${event.kind} where rows were expected`);
    }
  }

  /**
   * The next event. Rejects with the server's error once it is ready for another statement, or with why the connection ended:
   * the codes of postgresql-error.ts, or the signal's reason.
   */
  async next(): Promise<WireEvent> {
    while (this.#left > 0) await this.nextSlice();
    for (;;) {
      const header = this.#reader.tryTake(headerBytes) ?? (await this.#takeHeader());
      const type = header[0] ?? 0;
      const sizeBytes = header.readUInt32BE(1) - 4;
      if (type === backendType.copyData) {
        this.#left = sizeBytes;
        return { kind: 'copy-data', sizeBytes };
      }
      if (sizeBytes < 0 || sizeBytes > maxMessageBytes) throw this.#breakOff(`a message of ${sizeBytes} bytes`);
      const event = this.#digest(type, await this.#reader.take(sizeBytes));
      if (event !== null) return event;
    }
  }

  /** Of the current copy-data, that were not taken yet. */
  get leftBytes(): number {
    return this.#left;
  }

  /**
   * Begins the next message and takes the first byte of its content, if both have arrived, it is CopyData, and its content begins with
   * `first`; else nothing is taken, and `next` tells what comes. Only after all of the current copy-data.
   */
  beginCopyData(first: number): boolean {
    invariant(this.#left === 0, 'the last message was not taken to its end');
    const reader = this.#reader;
    if (reader.peek(0) !== backendType.copyData || reader.peek(headerBytes) !== first) return false;
    const header = reader.tryTake(headerBytes + 1);
    this.#left = (header?.readUInt32BE(1) ?? 0) - headerBytes;
    return true;
  }

  /** What of the current copy-data has arrived, as nextSlice gives it; null when nothing has, and at its end. */
  takeSlice(): Buffer | null {
    const slice = this.#reader.takeSome(this.#left);
    this.#left -= slice?.length ?? 0;
    return slice;
  }

  /** The next piece of the current copy-data, as it arrived: a view that stays valid. Null at its end. */
  async nextSlice(): Promise<Buffer | null> {
    if (this.#left === 0) return null;
    for (;;) {
      const slice = this.takeSlice();
      if (slice !== null) return slice;
      await this.#reader.more();
    }
  }

  /** The first bytes of the current copy-data that were not taken yet, or all when they are fewer. For small counts. */
  async takeData(maxBytes: number): Promise<Buffer> {
    const taken = await this.#reader.take(Math.min(this.#left, maxBytes));
    this.#left -= taken.length;
    return taken;
  }

  /** The whole current copy-data. For small ones: it is held. */
  async wholeData(): Promise<Buffer> {
    if (this.#left > maxMessageBytes) throw this.#breakOff(`a message of ${this.#left} bytes`);
    const whole = await this.#reader.take(this.#left);
    this.#left = 0;
    return whole;
  }

  /** Sends one CopyData; waits while the server takes nothing. */
  async sendCopyData(...parts: readonly Uint8Array[]): Promise<void> {
    if (!this.#send(0x64, ...parts) && !this.#setup.socket.destroyed) {
      const ended = new AbortController();
      const closed = once(this.#setup.socket, 'close', { signal: ended.signal });
      const drained = once(this.#setup.socket, 'drain', { signal: ended.signal });
      // Why it closed is said by `next`.
      await Promise.race([closed, drained]).catch(() => undefined);
      ended.abort();
      await Promise.allSettled([closed, drained]);
    }
  }

  sendCopyDone(): void {
    this.#send(0x63);
  }

  /** Ends it in order when it is idle, at once otherwise. May be called twice. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { socket, signal } = this.#setup;
    signal.removeEventListener('abort', this.#onAbort);
    if (!socket.destroyed && !this.#isBusy) {
      const closed = once(socket, 'close', { signal: AbortSignal.timeout(closeLimitMs) });
      this.#send(0x58);
      socket.end();
      socket.resume();
      // A server that does not answer is left alone.
      await closed.catch(() => undefined);
    } else if (!socket.destroyed) {
      this.#cancelling ??= this.#setup.cancel();
    }
    this.#reader.fail(this.#lost('the connection was closed'));
    this.#reader.drop();
    socket.destroy();
    await this.#cancelling;
  }

  /** A closed socket alone is noticed by a server only when it writes next: during a checkpoint, that takes minutes. */
  readonly #onAbort = (): void => {
    const { socket, signal, cancel } = this.#setup;
    if (this.#isBusy) this.#cancelling ??= cancel();
    this.#reader.fail(signal.reason);
    this.#reader.drop();
    socket.destroy();
  };

  async #takeHeader(): Promise<Buffer> {
    try {
      return await this.#reader.take(headerBytes);
    } catch (error) {
      // The server's own word of why it ends says more than that it ended.
      throw this.#setup.signal.aborted ? error : (this.#error ?? error);
    }
  }

  /** Handles one message; gives what the taker is to know. */
  #digest(type: number, body: Buffer): WireEvent | null {
    switch (type) {
      case backendType.rowDescription:
        this.#columns = decodeColumns(body);
        this.#rows = [];
        return null;
      case backendType.dataRow:
        this.#rows.push(decodeRow(body, this.#encoding));
        return null;
      case backendType.commandComplete:
        return this.#endResult(decodeText(body).text);
      case backendType.copyOut:
        return { kind: 'copy-out' };
      case backendType.copyIn:
        return { kind: 'copy-in' };
      case backendType.copyBoth:
        return { kind: 'copy-both' };
      case backendType.copyDone:
        return copyDone;
      case backendType.error:
        this.#error ??= serverError(decodeComplaint(body), { ...this.#setup.place, activity: this.#activity });
        return null;
      case backendType.ready:
        return this.#endStatement();
      case backendType.notice:
        this.notices.push(decodeComplaint(body).message);
        if (this.notices.length > maxNoticeCount) this.notices.shift();
        return null;
      case backendType.parameterStatus: {
        const name = decodeText(body);
        this.#setup.parameters.set(name.text, decodeText(body, name.end).text);
        return null;
      }
      case backendType.notification:
      case backendType.emptyQuery:
        return null;
      default:
        throw this.#breakOff(`a message of type ${type}`);
    }
  }

  #endResult(tag: string): WireEvent | null {
    const columns = this.#columns;
    if (columns === null) return null;
    this.#columns = null;
    const result = { columns, rows: this.#rows, tag };
    this.#rows = [];
    return { kind: 'result', result };
  }

  #endStatement(): WireEvent {
    this.#isBusy = false;
    this.#columns = null;
    const error = this.#error;
    this.#error = null;
    if (error !== null) throw error;
    return ready;
  }

  /** One message of the client: true when the socket takes more. */
  #send(type: number, ...parts: readonly Uint8Array[]): boolean {
    const { socket } = this.#setup;
    if (socket.destroyed || socket.writableEnded) return false;
    const header = Buffer.allocUnsafe(headerBytes);
    header[0] = type;
    header.writeUInt32BE(
      parts.reduce((sum, part) => sum + part.length, 4),
      1,
    );
    socket.cork();
    let takesMore = socket.write(header);
    for (const part of parts) takesMore = socket.write(part);
    socket.uncork();
    return takesMore;
  }

  /** After something that no server sends, nothing that follows can be believed. */
  #breakOff(what: string): HoldfastError {
    const error = this.#lost(`the server sent ${what}, which is not of its protocol`);
    this.#reader.fail(error);
    this.#setup.socket.destroy();
    return error;
  }

  #lost(message: string): HoldfastError {
    return connectionError(new Error(message), { ...this.#setup.place, activity: 'querying' });
  }
}

/** `15.18 (Debian 15.18-0+deb12u1)` is 150_018, `18beta1` is 180_000; 0 when it says nothing. */
export function parseServerVersion(text: string): number {
  const [, major = '0', minor = '0'] = /^(\d+)(?:\.(\d+))?/u.exec(text) ?? [];
  return Number(major) * 10_000 + Number(minor);
}
