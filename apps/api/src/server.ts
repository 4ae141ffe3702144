import { randomUUID } from 'node:crypto';
import fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import { serializerCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { addAuthentication, enforceAccess } from './plugins/authentication.ts';
import { addBullBoard } from './plugins/bull-board.ts';
import { addOpenApi } from './plugins/openapi.ts';
import { addProblems, sendProblem } from './plugins/problems.ts';
import { addRateLimit } from './plugins/rate-limit.ts';
import { addSecurityHeaders } from './plugins/security-headers.ts';
import { compileValidator } from './request-validation.ts';
import { createWorkers } from './browse/ask-workers.ts';
import { createDownloadSlots } from './browse/download-slots.ts';
import type { Routes, ServerDeps } from './server-deps.ts';
import { addAdoptionRoutes } from './routes/adoptions.ts';
import { addConfigRoutes } from './routes/configs.ts';
import { addCopyConfigRoutes } from './routes/copy-configs.ts';
import { addCopyRoutes } from './routes/copies.ts';
import { addEntityRoutes } from './routes/entities.ts';
import { addEventRoutes } from './routes/events.ts';
import { addFileSearchRoute } from './routes/file-search.ts';
import { addJobArchiveRoute } from './routes/job-archive.ts';
import { addJobContentRoute } from './routes/job-content.ts';
import { addJobDiffRoute } from './routes/job-diff.ts';
import { addJobFileRoutes } from './routes/job-files.ts';
import { addHealthRoutes } from './routes/health.ts';
import { addJobRoutes } from './routes/jobs.ts';
import { addMaintenanceRoutes } from './routes/maintenance.ts';
import { addMetricsRoutes } from './routes/metrics.ts';
import { addPlanRoutes } from './routes/dr-plans.ts';
import { addRecoveryWindowRoute } from './routes/recovery-window.ts';
import { addRecoveryRoutes } from './routes/recovery.ts';
import { addReplicationSlotRoutes } from './routes/replication-slots.ts';
import { addRepositoryRoutes } from './routes/repositories.ts';
import { addRepositorySnapshotRoutes } from './routes/repository-snapshots.ts';
import { addServiceRoutes } from './routes/service.ts';
import { addStorageTestRoutes } from './routes/storage-tests.ts';
import { addStatusRoutes } from './routes/status.ts';
import { addVerificationRoutes } from './routes/verifications.ts';

export const apiPrefix = '/api/backup';

/** The largest body is a config with a few dozen paths, or a plan's procedures. */
const bodyMaxBytes = 1024 * 1024;
/** A request, headers and body, that dribbles in longer than this is given up. */
const requestTimeoutMs = 30_000;

/** The whole API, not yet listening. Closing it ends the event streams; what `deps` holds stays open. */
export async function buildServer(deps: ServerDeps): Promise<FastifyInstance> {
  // Named by its narrower type, so that the server's type does not depend on the logger's make.
  const loggerInstance: FastifyBaseLogger = deps.logger;
  const server = fastify({
    loggerInstance,
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    bodyLimit: bodyMaxBytes,
    // Behind a proxy that ends TLS, protocol and address of the client come from its headers; from anybody else they are made up.
    trustProxy: deps.config.trustedProxies.length === 0 ? false : [...deps.config.trustedProxies],
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: 'idle',
    // Paths that are no URL never reach a route or the error handler.
    frameworkErrors: (error, request, reply) => void sendProblem(error, request, reply),
  });
  server.setValidatorCompiler(compileValidator);
  server.setSerializerCompiler(serializerCompiler);
  acceptEmptyJson(server);

  addSecurityHeaders(server);
  const readToken = await addAuthentication(server, deps.config.jwtSecret);
  await addRateLimit(server, deps.config.rateLimitPerMinute);
  addProblems(server);
  await addOpenApi(server);

  await server.register(
    // oxlint-disable-next-line require-await -- a plugin without a promise would turn what it throws into a timeout
    async (scope) => {
      server.decorate('apiRoutes', enforceAccess(scope));
      addApiRoutes(scope.withTypeProvider<ZodTypeProvider>(), deps);
    },
    { prefix: apiPrefix },
  );
  await addBullBoard(server, deps, readToken);
  server.addHook('preClose', () => deps.eventFeed.close());
  await server.ready();
  return server;
}

function addApiRoutes(routes: Routes, deps: ServerDeps): void {
  addEntityRoutes(routes, deps);
  addConfigRoutes(routes, deps);
  addJobRoutes(routes, deps);
  addBrowseRoutes(routes, deps);
  addVerificationRoutes(routes, deps);
  addRecoveryRoutes(routes, deps);
  addRecoveryWindowRoute(routes, deps);
  addMaintenanceRoutes(routes, deps);
  addPlanRoutes(routes, deps);
  addRepositoryRoutes(routes, deps);
  addAdoptionRoutes(routes, deps);
  addRepositorySnapshotRoutes(routes, deps);
  addStorageTestRoutes(routes, deps);
  addCopyRoutes(routes, deps);
  addCopyConfigRoutes(routes, deps);
  addReplicationSlotRoutes(routes, deps);
  addEventRoutes(routes, deps);
  addMetricsRoutes(routes, deps);
  addStatusRoutes(routes, deps);
  addServiceRoutes(routes, deps);
  addHealthRoutes(routes, deps);
}

/** What is in backups, which workers tell. */
function addBrowseRoutes(routes: Routes, deps: ServerDeps): void {
  const browse = { ...deps, workers: createWorkers(deps) };
  const downloading = { ...browse, downloads: createDownloadSlots() };
  addJobFileRoutes(routes, browse);
  addJobContentRoute(routes, downloading);
  addJobArchiveRoute(routes, downloading);
  addJobDiffRoute(routes, browse);
  addFileSearchRoute(routes, browse);
}

/** Clients that send `content-type: application/json` and nothing else mean an empty body; other content types are refused. */
function acceptEmptyJson(server: FastifyInstance): void {
  const parseJson = server.getDefaultJsonParser('error', 'error');
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined);
    else void parseJson(request, body.toString(), done);
  });
}
