import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { problemMediaType, statusByCode, toHoldfastError, toProblem } from '../problem.ts';

/** When it is worth coming again: a worker that died is started anew within seconds, and lists make room sooner than downloads. */
const retryAfterSeconds: Partial<Record<ErrorCode, number>> = { worker_unreachable: 10, worker_busy: 5 };

/** Every error, unknown path and wrong method as application/problem+json. Call it before the first route is added. */
export function addProblems(server: FastifyInstance): void {
  const methodsByPattern = new Map<string, Set<string>>();
  server.addHook('onRoute', (route) => {
    const methods = methodsByPattern.get(route.url) ?? new Set<string>();
    for (const method of [route.method].flat()) methods.add(method.toUpperCase());
    methodsByPattern.set(route.url, methods);
  });

  server.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
  server.setNotFoundHandler({ preHandler: server.rateLimit() }, (request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const allowed = [...methodsByPattern].filter(([pattern]) => matches(pattern, path)).flatMap(([, methods]) => [...methods]);
    if (allowed.length === 0) return sendProblem(new HoldfastError('not_found', 'there is nothing at this path'), request, reply);
    reply.header('allow', [...new Set(allowed)].toSorted().join(', '));
    return sendProblem(new HoldfastError('method_not_allowed', `${request.method} is not allowed at this path`), request, reply);
  });
}

/** Answers with the problem of an error, and logs it: what is our side's fault in full, what is the caller's in a line. */
export function sendProblem(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error = toHoldfastError(thrown);
  const status = statusByCode[error.code];
  if (status >= 500) request.log.error({ err: error.cause ?? error, code: error.code }, 'request failed');
  else request.log.info({ code: error.code, status }, 'request refused');
  const retryAfter = retryAfterSeconds[error.code];
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter);
  if (status === 401) reply.header('www-authenticate', 'Bearer realm="holdfast"');
  return reply.code(status).type(problemMediaType).serializer(JSON.stringify).send(toProblem(error, request.id));
}

/** Whether a path could be served by a route pattern such as `/api/backup/jobs/:id`. Patterns with a star are pages' files. */
function matches(pattern: string, path: string): boolean {
  if (pattern.includes('*')) return false;
  const wanted = pattern.split('/');
  const given = path.split('/');
  return wanted.length === given.length && wanted.every((part, index) => part.startsWith(':') || part === given[index]);
}
