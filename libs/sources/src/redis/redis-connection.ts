import { once } from 'node:events';
import { connect as connectPlain, type Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, getCACertificates } from 'node:tls';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { redisPlace, type RedisConnectionOptions } from './connection-options.ts';
import { connectionError, replyError } from './redis-error.ts';
import { SocketReader } from './socket-reader.ts';

/** A server that does not answer for so long is tried again later. */
const connectTimeoutMs = 15_000;
const keepAliveDelayMs = 30_000;
/** A server writes an empty line at least every 10 s while it makes a copy (repl-ping-replica-period), and answers commands at once. */
const silenceLimitMs = 60_000;

export type Reply = string | number | Buffer | null | readonly Reply[];

/**
 * One connection that speaks RESP 2, as Redis, Valkey and KeyDB do: https://redis.io/docs/latest/develop/reference/protocol-spec/.
 * The signal ends it, whatever it waits for.
 */
export class RedisConnection implements AsyncDisposable {
  readonly place: string;
  readonly reader: SocketReader;
  readonly #socket: Socket;
  readonly #release: () => void;

  private constructor(place: string, socket: Socket, signal: AbortSignal) {
    this.place = place;
    this.#socket = socket;
    this.reader = new SocketReader(socket, { place, silenceLimitMs, signal });
    const end = (): void => void socket.destroy();
    signal.addEventListener('abort', end, { once: true });
    this.#release = () => signal.removeEventListener('abort', end);
  }

  /** Signs in. Codes: redis_unreachable, redis_tls_failed, redis_login_failed. */
  static async open(options: RedisConnectionOptions, signal: AbortSignal): Promise<RedisConnection> {
    signal.throwIfAborted();
    const place = redisPlace(options);
    const socket = await openSocket(options, place, signal);
    const connection = new RedisConnection(place, socket, signal);
    try {
      const { user, password } = options;
      // The answer of a server without passwords to one that is given is an error too: the config is not what it says.
      if (password !== undefined) await connection.command(['AUTH', ...(user === undefined ? [] : [user]), password]);
      await connection.command(['PING']);
      return connection;
    } catch (error) {
      await connection[Symbol.asyncDispose]();
      signal.throwIfAborted();
      throw error;
    }
  }

  /** One command and its answer. Codes: redis_*. */
  async command(words: readonly (string | Uint8Array)[]): Promise<Reply> {
    await this.send(words);
    return await this.reply(String(words[0]));
  }

  /** Resolves when the socket takes more. */
  async send(words: readonly (string | Uint8Array)[]): Promise<void> {
    const parts: Uint8Array[] = [Buffer.from(`*${words.length}\r\n`)];
    for (const word of words) {
      const bytes = typeof word === 'string' ? Buffer.from(word) : word;
      parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
    }
    await this.#write(Buffer.concat(parts));
  }

  /** The answer to the oldest command that has none. Codes: redis_*, by what the server says. */
  async reply(command: string): Promise<Reply> {
    const line = await this.reader.line();
    const text = line.slice(1);
    switch (line.charAt(0)) {
      case '+':
        return text;
      case '-':
        throw replyError(text, this.place, command);
      case ':':
        return Number(text);
      case '$': {
        if (text === '-1') return null;
        const bytes = await this.reader.exactly(Number(text) + 2);
        return bytes.subarray(0, -2);
      }
      case '*': {
        const replies: Reply[] = [];
        for (let left = Number(text); left > 0; left--) replies.push(await this.reply(command));
        return replies;
      }
      default:
        throw new HoldfastError('redis_failed', `${this.place} does not speak the protocol of Redis`);
    }
  }

  /** The lines of INFO of one section: name to value. */
  async info(section: string): Promise<ReadonlyMap<string, string>> {
    const reply = await this.command(['INFO', section]);
    const lines = String(reply).split(/\r?\n/u);
    return new Map(
      lines.flatMap((line) => {
        const colon = line.indexOf(':');
        return line.startsWith('#') || colon === -1 ? [] : [[line.slice(0, colon), line.slice(colon + 1)] as const];
      }),
    );
  }

  async #write(bytes: Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#socket.write(bytes, (error) => (error ? reject(connectionError(error, this.place, true)) : resolve()));
    await promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#release();
    this.#socket.destroy();
  }
}

async function openSocket(options: RedisConnectionOptions, place: string, signal: AbortSignal): Promise<Socket> {
  const { host, port, tls } = options;
  const socket = tls.mode === 'disable' ? connectPlain({ host, port }) : connectTls({ host, port, ...tlsSettings(options) });
  try {
    const limits = AbortSignal.any([signal, AbortSignal.timeout(connectTimeoutMs)]);
    await once(socket, tls.mode === 'disable' ? 'connect' : 'secureConnect', { signal: limits });
    socket.setNoDelay(true).setKeepAlive(true, keepAliveDelayMs);
    return socket;
  } catch (error) {
    // A late error of the socket has nobody else.
    socket.on('error', () => {}).destroy();
    signal.throwIfAborted();
    if (error instanceof Error && error.name === 'AbortError') {
      throw new HoldfastError('redis_unreachable', `${place} did not answer within ${connectTimeoutMs / 1000} s`, { cause: error });
    }
    throw connectionError(error, place, false);
  }
}

function tlsSettings({ host, tls: { mode, ca, serverName } }: RedisConnectionOptions) {
  const named = serverName ?? host;
  return {
    ca: ca ?? getCACertificates('default'),
    rejectUnauthorized: mode === 'verify-full',
    // No name is sent for an address: RFC 6066 has none.
    ...(/^[\d.]+$|:/u.test(named) ? {} : { servername: named }),
    checkServerIdentity: (_: string, certificate: Parameters<typeof checkServerIdentity>[1]) => checkServerIdentity(named, certificate),
  };
}
