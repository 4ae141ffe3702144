import type { Socket } from 'node:net';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Client } from 'ssh2';
import { silentConnection } from '../remote/http-agents.ts';

/** As the library answers: an error, or a value. */
export type Answer<T> = (error: Error | null | undefined, value: T) => void;

/** How long a connection that was ended in order may take to be gone. */
const goodbyeLimitMs = 1_000;

/**
 * An SSH connection that never leaves anybody waiting. The library drops the answers of requests that are sent after the channel has
 * closed, and waits for ever on a line that has gone silent; here whatever waits fails as soon as the connection is lost, and the line is
 * watched while something waits: nothing moves on it for the idle timeout, in both directions, and it is lost.
 */
export class SftpConnection {
  readonly #socket: Socket;
  readonly #client: Client;
  readonly #idleTimeoutMs: number;
  readonly #waiting = new Set<(loss: HoldfastError) => void>();
  #loss: HoldfastError | undefined;

  /** `explain` translates what the library or the socket failed with. */
  constructor(socket: Socket, client: Client, idleTimeoutMs: number, explain: (error: unknown) => HoldfastError) {
    this.#socket = socket;
    this.#client = client;
    this.#idleTimeoutMs = idleTimeoutMs;
    socket.on('timeout', () => this.lose(silentConnection(idleTimeoutMs)));
    // Stays for as long as the client lives: it tells of errors after its end too, and one that nobody hears ends the process.
    client.on('error', (error) => this.lose(explain(error)));
    client.on('close', () => this.lose(explain(new Error('the server closed the connection'))));
  }

  get isLost(): boolean {
    return this.#loss !== undefined;
  }

  /** The answer to what `send` asks for. Rejects with its error, or with what the connection was lost by. */
  async wait<T>(send: (answer: Answer<T>) => void): Promise<T> {
    if (this.#loss !== undefined) throw this.#loss;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    if (this.#waiting.size === 0) this.#socket.setTimeout(this.#idleTimeoutMs);
    this.#waiting.add(reject);
    const settle = (): void => {
      if (this.#waiting.delete(reject) && this.#waiting.size === 0) this.#socket.setTimeout(0);
    };
    try {
      send((error, value) => {
        settle();
        if (error) reject(error);
        else resolve(value);
      });
    } catch (error) {
      settle();
      throw error;
    }
    return promise;
  }

  /** Ends the connection at once; whatever waits on it fails with `loss`. Only the first loss counts. */
  lose(loss: HoldfastError): void {
    if (this.#loss !== undefined) return;
    this.#loss = loss;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.#socket.destroy();
    for (const reject of waiting) reject(loss);
  }

  /** Ends the connection: in order when nothing waits on it, and else at once. */
  end(): void {
    if (this.#loss !== undefined) return;
    const loss = new HoldfastError('storage_unreachable', 'the connection was ended');
    if (this.#waiting.size > 0) return this.lose(loss);
    this.#loss = loss;
    this.#client.end();
    const timer = setTimeout(() => this.#socket.destroy(), goodbyeLimitMs);
    this.#socket.once('close', () => clearTimeout(timer));
  }
}
