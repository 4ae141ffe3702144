import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance } from 'fastify';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** How many callers are remembered at once; the least recently seen goes first. */
const rememberedCallersMaxCount = 10_000;
const windowMs = 60_000;

/**
 * So many requests a minute for each subject of a valid token, else for each address: wrong tokens are counted by address, so
 * that guessing is slow. Routes with `config.rateLimit: false` (health) are not counted. Kept in this process: n processes allow n times as much.
 */
export async function addRateLimit(server: FastifyInstance, perMinute: number): Promise<void> {
  await server.register(rateLimit, {
    max: perMinute,
    timeWindow: windowMs,
    cache: rememberedCallersMaxCount,
    keyGenerator: (request) => (request.caller === null ? `ip:${request.ip}` : `subject:${request.caller.subject}`),
    errorResponseBuilder: (_request, context) =>
      new HoldfastError('rate_limited', `more than ${context.max} requests in a minute; try again in ${Math.ceil(context.ttl / 1000)} s`),
  });
}
