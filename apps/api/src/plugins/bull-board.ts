import cookie from '@fastify/cookie';
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify';
import { labelledQueuesInUse } from '@holdfast/database/labels-in-use';
import type { Database } from '@holdfast/database/open-database';
import { queueNames, runQueueName } from '@holdfast/jobs/queue-names';
import type { Queues } from '@holdfast/jobs/queues';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { statusByCode } from '../problem.ts';
import { signInPage } from './sign-in-page.ts';
import type { Caller, ReadToken } from './authentication.ts';
import { sendProblem } from './problems.ts';

export const boardPath = '/admin/queues';
const signInPath = `${boardPath}/sign-in`;
const signOutPath = `${boardPath}/sign-out`;
const cookieName = 'holdfast_board';
/** A board left open in a browser is signed out after a working day, or when its token ends. */
const sessionMaxSeconds = 8 * 3600;
/** The sign-in form carries one token. */
const formMaxBytes = 64 * 1024;
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

interface BoardDeps {
  readonly queues: Queues;
  readonly database: Database;
  readonly now: () => Date;
  readonly logger: Pick<FastifyBaseLogger, 'warn'>;
}

/** An open board asks every few seconds, from each browser: the rows are asked no oftener. */
const labelledQueuesMs = 2_000;

/**
 * Bull Board for admins of all entities. Browsers send no authorization header, so a sign-in page turns a token into a cookie that
 * no script can read and no other site can make the browser send (SameSite=Strict); requests that change something must also come from
 * this very origin, which covers browsers that do not keep to SameSite and pages on sibling hosts.
 */
export async function addBullBoard(server: FastifyInstance, deps: BoardDeps, readToken: ReadToken): Promise<void> {
  const adapter = new ProblemAdapter();
  adapter.setBasePath(boardPath);
  const board = createBullBoard({
    queues: queueNames.map((name) => new BullMQAdapter(deps.queues.byName[name], { description: descriptions[name] })),
    serverAdapter: adapter,
    options: { uiConfig: { boardTitle: 'Holdfast' } },
  });

  const showLabelledQueues = labelledQueuesShower(deps, (queue) => board.addQueue(queue));

  await server.register(async (scope) => {
    await scope.register(cookie);
    scope.addHook('onRequest', async (request, reply) => {
      if (safeMethods.has(request.method) || isSameOrigin(request)) return;
      sendProblem(new HoldfastError('role_insufficient', 'the board takes changes from its own pages only'), request, reply);
    });
    await scope.register(async (forms) => addSignIn(forms, readToken, deps.now));
    await scope.register(
      async (pages) => {
        pages.addHook('onRequest', async (request, reply) => {
          if (boardCaller(request, readToken) !== undefined) return;
          const isPage = request.method === 'GET' && (request.headers.accept ?? '').includes('text/html');
          // An answer that is sent in a hook ends the request.
          if (isPage) reply.redirect(signInPath, 303);
          else sendProblem(new HoldfastError('token_missing', 'the board needs a sign-in'), request, reply);
        });
        pages.addHook('preHandler', showLabelledQueues);
        await pages.register(adapter.registerPlugin());
      },
      { prefix: boardPath },
    );
  });
}

/** Bull Board knows few statuses; what our hooks throw (the rate limit) is told to the client by the nearest of them. */
class ProblemAdapter extends FastifyAdapter {
  override setErrorHandler(answer: Parameters<FastifyAdapter['setErrorHandler']>[0]): this {
    return super.setErrorHandler((error) =>
      isHoldfastError(error) && statusByCode[error.code] < 500
        ? { status: 400, body: { error: error.code, message: error.message } }
        : answer(error),
    );
  }
}

/** Puts queues of labels on the board once the rows have a use for them. A board without one of them is better than no board. */
function labelledQueuesShower({ queues, database, logger }: BoardDeps, show: (queue: BullMQAdapter) => void): () => Promise<void> {
  const shown = new Set<string>();
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (performance.now() - lookedAtMs < labelledQueuesMs) return;
    lookedAtMs = performance.now();
    try {
      for (const queue of await labelledQueuesInUse(database.client)) {
        const name = runQueueName(queue);
        if (shown.has(name)) continue;
        const description = `${descriptions[queue.kind]}, by workers with the label ${queue.workerLabel}`;
        show(new BullMQAdapter(await queues.labelled.open(queue), { description }));
        shown.add(name);
      }
    } catch (error) {
      logger.warn({ err: error }, 'the board lacks queues of labels; it is tried again');
    }
  };
}

const descriptions = {
  backup: 'Backups; a job is a row of backup_jobs',
  verify: 'Verifications of backups',
  recovery: 'Recoveries of backups',
  cleanup: 'Retention: forget and prune',
  copy: 'Copies of snapshots in a second repository',
  adopt: 'Snapshots of repositories that others wrote to',
  schedule: 'Ticks of schedules, each of which makes a row',
  storage_test: 'Places of storages that somebody waits to see tried',
} as const;

function addSignIn(scope: FastifyInstance, readToken: ReadToken, now: () => Date): void {
  scope.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: formMaxBytes },
    (_request, body, done) => {
      done(null, new URLSearchParams(body.toString()));
    },
  );
  scope.get(signInPath, { schema: { hide: true } }, (_request, reply) =>
    reply.header('cache-control', 'no-store').type('text/html; charset=utf-8').send(signInPage(signInPath)),
  );
  scope.post(signInPath, { schema: { hide: true } }, (request, reply) => {
    const token = request.body instanceof URLSearchParams ? (request.body.get('token') ?? '').trim() : '';
    try {
      const caller = requireBoardAdmin(readToken(token));
      const leftSeconds = caller.expiresAt === undefined ? sessionMaxSeconds : (caller.expiresAt.getTime() - now().getTime()) / 1000;
      return reply
        .setCookie(cookieName, token, {
          path: boardPath,
          httpOnly: true,
          sameSite: 'strict',
          secure: request.protocol === 'https',
          maxAge: Math.max(1, Math.floor(Math.min(leftSeconds, sessionMaxSeconds))),
        })
        .redirect(boardPath, 303);
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      return reply
        .code(statusByCode[error.code])
        .header('cache-control', 'no-store')
        .type('text/html; charset=utf-8')
        .send(signInPage(signInPath, error.message));
    }
  });
  scope.post(signOutPath, { schema: { hide: true } }, (_request, reply) =>
    reply.clearCookie(cookieName, { path: boardPath }).redirect(signInPath, 303),
  );
}

/** The admin behind the cookie, or behind an authorization header; undefined for anybody else. */
function boardCaller(request: FastifyRequest, readToken: ReadToken): Caller | undefined {
  try {
    if (request.caller !== null) return requireBoardAdmin(request.caller);
    return requireBoardAdmin(readToken(request.cookies[cookieName] ?? ''));
  } catch (error) {
    if (isHoldfastError(error)) return undefined;
    throw error;
  }
}

function requireBoardAdmin(caller: Caller): Caller {
  if (caller.role === 'admin' && caller.scope === '*') return caller;
  throw new HoldfastError('role_insufficient', 'the board shows all entities and needs an admin token with entities "*"');
}

/** A browser tells where a request comes from in one of these headers; a program that sends neither has no cookie to be abused. */
function isSameOrigin(request: FastifyRequest): boolean {
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined) return site === 'same-origin' || site === 'none';
  const origin = request.headers.origin;
  if (origin === undefined) return true;
  return URL.canParse(origin) && new URL(origin).host === request.headers.host;
}
