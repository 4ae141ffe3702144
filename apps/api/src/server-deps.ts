import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Logger } from 'pino';
import type { Database } from '@holdfast/database/open-database';
import type { Queues } from '@holdfast/jobs/queues';
import type { Workers } from './browse/ask-workers.ts';
import type { ApiConfig } from './config.ts';
import type { EventFeed } from './event-feed.ts';

/** What the API works with. Whoever made it closes it, after the server. */
export interface ServerDeps {
  readonly config: ApiConfig;
  readonly database: Database;
  readonly queues: Queues;
  readonly eventFeed: EventFeed;
  readonly now: () => Date;
  readonly logger: Logger;
  /** How long a run waits for a worker before GET /status tells of it, in milliseconds; libs/policy's when not given. For tests. */
  readonly waitingAlertMs?: number;
  /** How long a request waits for a worker to try a storage; long enough when not given. For tests without a worker. */
  readonly storageTestLimitMs?: number;
}

/** For routes that look into backups. */
export interface BrowseDeps extends ServerDeps {
  readonly workers: Workers;
}

/** What route files add their routes to: the schemas give the types of bodies, queries and answers. */
export type Routes = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, ZodTypeProvider>;
