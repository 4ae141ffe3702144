import { Agent as HttpAgent, type AgentOptions } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Duplex } from 'node:stream';
import { Socket } from 'node:net';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * The connections of adapters that speak HTTP: kept open, so many at most, ended when nothing moves on them. The vendors' clients
 * wait for ever on a socket that has gone silent, whatever their own timeouts say; here the socket itself is watched, in both
 * directions, so that a long transfer is never cut while it moves.
 */
export interface HttpAgents {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;
  /** Ends all connections, those in use too. */
  close(): void;
}

export interface HttpAgentOptions {
  readonly maxConnections: number;
  readonly idleTimeoutMs: number;
  /** PEM; trusted beside nothing else when given, else the system's authorities. */
  readonly caCertificate?: string | undefined;
  /** `http://host:port`; requests go through it, those over TLS by CONNECT. */
  readonly proxyUrl?: string | undefined;
}

export function openHttpAgents({ maxConnections, idleTimeoutMs, caCertificate, proxyUrl }: HttpAgentOptions): HttpAgents {
  const options: AgentOptions = {
    keepAlive: true,
    maxSockets: maxConnections,
    // Node sets a socket's timeout anew at each use: the same one.
    timeout: idleTimeoutMs,
    ...(proxyUrl === undefined ? {} : { proxyEnv: { HTTP_PROXY: proxyUrl, HTTPS_PROXY: proxyUrl, NO_PROXY: '' } }),
  };
  const http = watchedAgent(new HttpAgent(options), idleTimeoutMs);
  const https = watchedAgent(new HttpsAgent({ ...options, ...(caCertificate === undefined ? {} : { ca: caCertificate }) }), idleTimeoutMs);
  return {
    http,
    https,
    close() {
      http.destroy();
      https.destroy();
    },
  };
}

/** Node tells of a silent socket and leaves it open: here it is ended, which ends the request on it with an error. */
function watchedAgent<A extends HttpAgent>(agent: A, idleTimeoutMs: number): A {
  const create = agent.createConnection.bind(agent);
  agent.createConnection = (options, done) => {
    const socket = create(options, (error, made) => {
      if (made !== undefined) watch(made);
      done?.(error, made);
    });
    if (socket) watch(socket);
    return socket;
  };
  const watched = new WeakSet<Duplex>();
  const watch = (socket: Duplex): void => {
    if (!(socket instanceof Socket) || watched.has(socket)) return;
    watched.add(socket);
    socket.setTimeout(idleTimeoutMs);
    let lastQueuedBytes = 0;
    socket.on('timeout', () => {
      const queued = queuedBytes(socket);
      if (queued === lastQueuedBytes) socket.destroy(silentConnection(idleTimeoutMs));
      else socket.setTimeout(idleTimeoutMs);
      lastQueuedBytes = queued;
    });
  };
  return agent;
}

/**
 * Bytes that were written to a TLS connection and that the system has not taken yet. Node looks only at those that it has not encrypted
 * yet, which is done at once: a large body that was written in one piece and flows out slowly looks silent to it. Zero without TLS, where
 * Node looks at the right ones.
 */
function queuedBytes(socket: Socket): number {
  const transport = fieldOf(fieldOf(socket, '_handle'), '_parent');
  const queued = fieldOf(transport, 'writeQueueSize');
  return typeof queued === 'number' ? queued : 0;
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

/** What a connection ends with on which nothing moved for so long. */
export function silentConnection(idleTimeoutMs: number): HoldfastError {
  return new HoldfastError('storage_unreachable', `nothing moved on the connection for ${idleTimeoutMs} ms`, {
    context: { idleTimeoutMs },
  });
}
