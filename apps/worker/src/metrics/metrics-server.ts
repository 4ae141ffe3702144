import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { metricsContentType } from './metrics-text.ts';

/** Answers `GET /metrics` and nothing else. Whoever reaches it may read it: it tells of no tenant, and listens on this machine by default. */
export interface MetricsServer extends AsyncDisposable {
  readonly port: number;
}

export interface MetricsServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** The text as it is now. */
  readonly text: () => string;
  readonly logger: Logger;
}

/** Those who read metrics are few. */
const maxConnections = 16;
const requestTimeoutMs = 10_000;

/** Null when it cannot listen there, which the log tells: a port that another worker has keeps no run from being done. */
export async function openMetricsServer({ host, port, text, logger }: MetricsServerOptions): Promise<MetricsServer | null> {
  const server = createServer({ requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs }, (request, response) => {
    answer(request, response, text);
  });
  server.maxConnections = maxConnections;
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    logger.warn({ err: error, host, port }, 'metrics cannot be served; the worker goes on without');
    return null;
  }
  server.on('error', (error) => logger.warn({ err: error }, 'the server of the metrics has failed'));
  const address = server.address();
  const listening = typeof address === 'object' && address !== null ? address.port : port;
  logger.info({ host, port: listening }, 'metrics are served');
  return {
    port: listening,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function answer({ method, url = '' }: IncomingMessage, response: ServerResponse, text: () => string): void {
  const isFound = url.split('?', 1)[0] === '/metrics';
  const isRead = method === 'GET' || method === 'HEAD';
  if (!isFound || !isRead) {
    response.writeHead(isFound ? 405 : 404, isFound ? { allow: 'GET, HEAD' } : {}).end();
    return;
  }
  response.writeHead(200, { 'content-type': metricsContentType, 'cache-control': 'no-store' }).end(text());
}
