import type { IncomingMessage } from 'node:http';
import type { FastifyReply } from 'fastify';

/** Of a worker's answer these go through to the client. */
const passedHeaders = ['content-length', 'content-range', 'accept-ranges', 'etag', 'last-modified'] as const;

/** Passes a worker's bytes on, as fast as the client takes them. When the worker's connection breaks, so does the client's: it is never told that a part was all. */
export function sendDownload(reply: FastifyReply, answer: IncomingMessage, headers: Readonly<Record<string, string>>): FastifyReply {
  for (const name of passedHeaders) {
    const value = answer.headers[name];
    if (value !== undefined) reply.header(name, value);
  }
  const status = answer.statusCode ?? 200;
  reply.code(status).headers(headers);
  if (status !== 304) return reply.send(answer);
  answer.resume();
  return reply.send();
}

/** The same head with nothing behind it. */
export function sendHead(reply: FastifyReply, answer: IncomingMessage, headers: Readonly<Record<string, string>>): void {
  answer.resume();
  const passed = passedHeaders.flatMap((name) => (answer.headers[name] === undefined ? [] : [[name, answer.headers[name]] as const]));
  // Fastify would say that a body which is not sent is empty.
  reply.hijack();
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) reply.raw.setHeader(name, value);
  reply.raw.writeHead(answer.statusCode ?? 200, { ...Object.fromEntries(passed), ...headers }).end();
}
