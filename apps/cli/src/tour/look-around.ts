import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { unreachable } from '../api-client.ts';
import { readEventStream } from '../event-stream.ts';
import type { StepOutcome, TourContext, TourOptions } from './tour-context.ts';

export const boardPath = '/admin/queues';
export const docsPath = '/docs';
const requestTimeoutMs = 10_000;
const replayTimeoutMs = 15_000;

const partSchema = z.looseObject({ state: z.string(), latencyMs: z.number().nullish() });
const healthSchema = z.looseObject({ database: partSchema, queue: partSchema, storage: partSchema });

/** Database, queue and storage, each with its state. */
export async function checkHealth(options: TourOptions): Promise<StepOutcome> {
  const health = await options.client.get('/health', healthSchema);
  const parts = (['database', 'queue', 'storage'] as const).map((name) => {
    const { state, latencyMs } = health[name];
    return `${name} ${state}${typeof latencyMs === 'number' ? ` ${latencyMs.toFixed(0)} ms` : ''}`;
  });
  return { amount: '', detail: parts.join(', ') };
}

/** Reads the event log again from its start, as a client does that was away. */
export async function replayEvents(context: TourContext): Promise<StepOutcome> {
  const timeout = AbortSignal.timeout(replayTimeoutMs);
  const wanted = new Set(['backup.completed', 'verify.completed', 'recovery.completed']);
  const signal = AbortSignal.any([context.signal, timeout]);
  let replayed = 0;
  for await (const event of readEventStream({ ...context.client.options, signal, query: { entityId: context.entityId }, after: '0' })) {
    if (event.type !== 'state') continue;
    replayed += 1;
    wanted.delete(z.looseObject({ type: z.string() }).parse(JSON.parse(event.data)).type);
    if (wanted.size === 0) break;
  }
  if (wanted.size > 0) throw new HoldfastError('not_found', `the event log did not replay ${[...wanted].join(', ')}`);
  const live = context.follower.counts();
  if (live.state === 0) throw new HoldfastError('not_found', 'the event stream told of no state while the tour ran');
  return { amount: `${live.state} states, ${live.progress} progress`, detail: `seen live; ${replayed} replayed from the log` };
}

/** The board is closed to strangers, and opens after a sign-in with the token. */
export async function signInToBoard(options: TourOptions): Promise<StepOutcome> {
  const { url, token } = options.client.options;
  const stranger = await request(url, boardPath, { headers: { accept: 'text/html' }, redirect: 'manual' });
  if (stranger.ok) throw new HoldfastError('conflict', 'the board is open to everybody');
  const signIn = await request(url, `${boardPath}/sign-in`, {
    method: 'POST',
    body: new URLSearchParams({ token: token ?? '' }),
    redirect: 'manual',
  });
  const cookie = signIn.headers.getSetCookie()[0]?.split(';')[0];
  if (cookie === undefined) throw new HoldfastError('token_invalid', `the board's sign-in answered ${signIn.status} and set no cookie`);
  const queues = await request(url, `${boardPath}/api/queues`, { headers: { cookie, accept: 'application/json' } });
  if (!queues.ok) throw new HoldfastError('token_invalid', `the board answered ${queues.status} after the sign-in`);
  const parsed = z.looseObject({ queues: z.array(z.looseObject({ name: z.string() })) }).parse(await queues.json());
  return { amount: `${parsed.queues.length} queues`, detail: `signed in; ${parsed.queues.map((queue) => queue.name).join(', ')}` };
}

/** The document that /docs shows. */
export async function readDocs(options: TourOptions): Promise<StepOutcome> {
  const response = await request(options.client.options.url, `${docsPath}/json`, {});
  if (!response.ok) throw new HoldfastError('not_found', `the API's description answered ${response.status}`);
  const parsed = z.looseObject({ openapi: z.string(), paths: z.record(z.string(), z.unknown()) }).parse(await response.json());
  return { amount: `${Object.keys(parsed.paths).length} paths`, detail: `OpenAPI ${parsed.openapi}` };
}

async function request(url: string, path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(`${url}${path}`, { ...init, signal: AbortSignal.timeout(requestTimeoutMs) });
  } catch (error) {
    throw unreachable(url, error);
  }
}
