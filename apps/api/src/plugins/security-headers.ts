import type { FastifyInstance } from 'fastify';

/** JSON is not to be rendered, run or framed. */
const apiPolicy = "default-src 'none'; frame-ancestors 'none'";
/** The pages (documentation, board) bring their own scripts; they style elements in place. */
const pagePolicy =
  "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

const hstsSeconds = 180 * 24 * 3600;

const isPage = (url: string) => url.startsWith('/docs') || url.startsWith('/admin');

/** The headers of a browser's own defences, on every answer. HSTS only where the request came over TLS (seen by a trusted proxy). */
export function addSecurityHeaders(server: FastifyInstance): void {
  // oxlint-disable-next-line require-await -- Fastify takes a hook without a callback only as a promise
  server.addHook('onRequest', async (request, reply) => {
    reply.headers({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'content-security-policy': isPage(request.url) ? pagePolicy : apiPolicy,
      'x-request-id': request.id,
    });
    if (!isPage(request.url)) reply.header('cache-control', 'no-store');
    if (request.protocol === 'https') reply.header('strict-transport-security', `max-age=${hstsSeconds}`);
  });
}
