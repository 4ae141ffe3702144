import jwt from '@fastify/jwt';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { isInScope, systemEntityId, type Scope } from '@holdfast/database/scope';
import { asHoldfastError, HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * Who calls: the claims of an HS256 token, `{ sub, role, entities }`. Routes say in `config.access` what they ask for; one
 * that says nothing does not start, so that no route is open by mistake.
 *
 * Hooks run in this order: identify (reads the token, refuses nothing, so that the rate limit can count by subject), the
 * rate limit, then enforce.
 */
export const roles = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

/** `all_entities_admin` is for what touches every tenant at once: the queues as a whole, the board, new entities. */
export type Access = 'public' | Role | 'all_entities_admin';

const subjectMaxChars = 200;
/** A token that names more entities than this belongs to somebody who should hold `*`. */
const entitiesMaxCount = 1000;
/** The largest header that is tried; a thousand entity ids fit. */
const tokenMaxChars = 64 * 1024;

export const claimsSchema = z.object({
  sub: z.string().min(1).max(subjectMaxChars),
  role: z.enum(roles),
  entities: z.union([z.literal('*'), z.array(z.string().min(1)).max(entitiesMaxCount)]),
  exp: z.number().optional(),
});

export interface Caller {
  readonly subject: string;
  readonly role: Role;
  /** The entities that the caller may touch. */
  readonly scope: Scope;
  /** When the token ends; undefined when it does not. */
  readonly expiresAt: Date | undefined;
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Every route of the API proper, without pages: what the tests sweep. */
    apiRoutes: readonly DeclaredRoute[];
  }
  interface FastifyContextConfig {
    access?: Access;
  }
  interface FastifyRequest {
    /** Set by identify when a valid token came along. */
    caller: Caller | null;
    /** Why there is no caller. */
    callerRefusal: HoldfastError | null;
  }
}

/** Reads and checks one token. Errors: token_invalid, which says why in words but never shows the token. */
export type ReadToken = (token: string) => Caller;

/** Adds token reading and enforcement to the server and everything below it. */
export async function addAuthentication(server: FastifyInstance, secret: string): Promise<ReadToken> {
  await server.register(jwt, { secret, sign: { algorithm: 'HS256' }, verify: { algorithms: ['HS256'] } });
  const readToken: ReadToken = (token) => {
    try {
      return callerOf(server.jwt.verify<object>(token));
    } catch (error) {
      throw refusalOf(error);
    }
  };

  server.decorateRequest('caller', null);
  server.decorateRequest('callerRefusal', null);
  // oxlint-disable-next-line require-await -- Fastify takes a hook without a callback only as a promise
  server.addHook('onRequest', async (request) => {
    try {
      request.caller = readToken(bearerToken(request));
    } catch (error) {
      request.callerRefusal = asHoldfastError(error);
    }
  });
  return readToken;
}

/** A route and who may use it. */
export interface DeclaredRoute {
  readonly method: string;
  readonly url: string;
  readonly access: Access;
}

/**
 * Refuses, in `scope` and below, whoever may not use a route. Comes after the rate limit and before the body is read.
 * Gives the list of the routes, which fills as they are added.
 */
export function enforceAccess(scope: FastifyInstance): readonly DeclaredRoute[] {
  const declared: DeclaredRoute[] = [];
  scope.addHook('onRoute', (route) => {
    const access = route.config?.access;
    if (access === undefined) {
      throw new HoldfastError('internal', `route ${String(route.method)} ${route.url} does not say who may use it`);
    }
    for (const method of [route.method].flat()) declared.push({ method, url: route.url, access });
  });
  // oxlint-disable-next-line require-await -- as above
  scope.addHook('preParsing', async (request) => {
    const access = request.routeOptions.config.access;
    // A path that is not there is answered 404 by the not-found route, which is nobody's secret.
    if (access === undefined) return;
    checkAccess(request, access);
  });
  return declared;
}

/** Throws token_missing, token_invalid or role_insufficient unless the request may use a route of this access. */
export function checkAccess(request: FastifyRequest, access: Access): void {
  if (access === 'public') return;
  const caller = callerOrThrow(request);
  if (access === 'all_entities_admin') {
    if (caller.role === 'admin' && caller.scope === '*') return;
    throw new HoldfastError('role_insufficient', 'this touches all entities and needs an admin token with entities "*"');
  }
  if (roles.indexOf(caller.role) < roles.indexOf(access)) {
    throw new HoldfastError('role_insufficient', `this needs the role ${access}; the token has ${caller.role}`);
  }
}

/** The caller of a route that is not public. */
export function callerOrThrow(request: FastifyRequest): Caller {
  if (request.caller !== null) return request.caller;
  throw request.callerRefusal ?? new HoldfastError('token_missing', 'no bearer token came with the request');
}

/** Whether the caller may touch an entity. Who may not is told not_found, as if it did not exist. */
export function mayTouch(caller: Caller, entityId: string): boolean {
  return isInScope(caller.scope, entityId);
}

function bearerToken(request: FastifyRequest): string {
  const header = request.headers.authorization;
  if (header === undefined) throw new HoldfastError('token_missing', 'no authorization header came with the request');
  const match = /^Bearer +([^\s]+)$/iu.exec(header.slice(0, tokenMaxChars));
  if (match?.[1] === undefined) throw new HoldfastError('token_invalid', 'the authorization header is not of the form "Bearer <token>"');
  return match[1];
}

function callerOf(payload: unknown): Caller {
  const claims = claimsSchema.safeParse(payload);
  if (!claims.success) {
    const names = [...new Set(claims.error.issues.map((issue) => String(issue.path[0] ?? 'payload')))];
    throw new HoldfastError('token_invalid', `the token's claims are wrong: ${names.join(', ')}`);
  }
  const { sub, role, entities, exp } = claims.data;
  return {
    subject: sub,
    role,
    scope: scopeOf(role, entities),
    expiresAt: exp === undefined ? undefined : new Date(exp * 1000),
  };
}

/** Holdfast's own backups hold all tenants' rows and the master key: nobody but an admin of all entities touches them, whatever a token names. */
function scopeOf(role: Role, entities: '*' | readonly string[]): Scope {
  if (entities === '*') return role === 'admin' ? '*' : 'tenants';
  return entities.filter((id) => id !== systemEntityId);
}

function refusalOf(error: unknown): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const code: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined;
  const reason = code === 'FAST_JWT_EXPIRED' ? 'the token has expired' : 'the token is not one of ours';
  return new HoldfastError('token_invalid', reason, { cause: error });
}
