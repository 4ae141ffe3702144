import { z } from 'zod';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Scope } from '@holdfast/database/scope';
import { serveEventStream } from '../event-stream.ts';
import { callerOrThrow, mayTouch, type Caller } from '../plugins/authentication.ts';
import { fieldError } from '../problem.ts';
import { idSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';

/** Streams are cheap but not free: each is a socket and a buffer. */
const streamsMaxCount = 500;
const sequenceMax = 2n ** 63n - 1n;

const querySchema = z.strictObject({
  entityId: idSchema.optional().describe('Only of this business entity'),
  subjectId: idSchema.optional().describe('Only of this job, verification, recovery, cleanup, copy, adoption, config, copy config or plan'),
  after: z.string().max(20).optional().describe('Begin after this event; the header Last-Event-ID goes before it. 0 replays the whole log'),
});

export function addEventRoutes(routes: Routes, deps: ServerDeps): void {
  routes.get(
    '/events',
    {
      config: { access: 'viewer' },
      exposeHeadRoute: false,
      schema: {
        tags: ['events'],
        summary: 'Follow states and progress',
        description:
          'Server-sent events. `event: state` carries an id and is a fact of the event log; `event: progress` has none and may be lost. ' +
          'With Last-Event-ID (or `after`) the stream begins with what happened since.',
        security: [{ bearer: [] }],
        querystring: querySchema,
        headers: z.looseObject({ 'last-event-id': z.string().max(20).optional().describe('The last id that was seen') }),
        response: {
          200: { description: 'The stream', content: { 'text/event-stream': { schema: z.string() } } },
          ...problemResponses('request_invalid', 'not_found'),
        },
      },
    },
    (request, reply) => {
      const caller = callerOrThrow(request);
      const { entityId, subjectId, after } = request.query;
      const lastEventId = request.headers['last-event-id'];
      const position =
        lastEventId === undefined || lastEventId === '' ? sequenceOf(after, 'after') : sequenceOf(lastEventId, 'Last-Event-ID');
      const scope = narrowed(caller, entityId);
      if (deps.eventFeed.subscriberCount >= streamsMaxCount) {
        throw new HoldfastError('rate_limited', `${streamsMaxCount} event streams are open already`);
      }
      reply.hijack();
      for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) reply.raw.setHeader(name, value);
      reply.raw.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        // Proxies that collect answers would hold the events back.
        'x-accel-buffering': 'no',
      });
      const remainingMs = caller.expiresAt === undefined ? undefined : Math.max(0, caller.expiresAt.getTime() - deps.now().getTime());
      serveEventStream(reply.raw, deps.eventFeed, { scope, subjectId, after: position, remainingMs });
    },
  );
}

function narrowed(caller: Caller, entityId: string | undefined): Scope {
  if (entityId === undefined) return caller.scope;
  if (mayTouch(caller, entityId)) return [entityId];
  throw new HoldfastError('not_found', `there is no entity ${entityId}`);
}

function sequenceOf(text: string | undefined, field: string): bigint | undefined {
  if (text === undefined) return undefined;
  const sequence = /^\d{1,19}$/u.test(text) ? BigInt(text) : -1n;
  if (sequence < 0n || sequence > sequenceMax) throw fieldError('request_invalid', [{ field, message: 'must be the number of an event' }]);
  return sequence;
}
