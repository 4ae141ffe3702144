import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { acceptRuns, type IdempotencyRequest } from '@holdfast/database/accept-run';
import type { Transaction } from '@holdfast/database/open-database';
import { invariant } from '@holdfast/errors/invariant';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { RunKind } from '@holdfast/jobs/queue-names';
import { callerOrThrow } from './plugins/authentication.ts';
import type { ServerDeps } from './server-deps.ts';

/**
 * The one place where work is accepted: the rows, their events and the Idempotency-Key are committed together, and only then put on the
 * queue. A queue that does not answer changes nothing about the answer: what a row owes, the worker's reconciler puts on the queue later.
 */
export interface Work<Row extends SubmittedRow> {
  readonly kind: RunKind;
  /** Makes the rows, or starts existing ones; none is an answer too. */
  create(tx: Transaction): Promise<readonly Row[]>;
  /** A row that the same request made before. */
  find(tx: Transaction, id: string): Promise<Row>;
}

interface SubmittedRow {
  readonly id: string;
  readonly status: string;
  readonly workerLabel: string | null;
}

/** Codes: those of `create`, idempotency_key_reused, database_unreachable. */
export async function submitJobs<Row extends SubmittedRow>(
  deps: Pick<ServerDeps, 'database' | 'queues'>,
  request: FastifyRequest,
  work: Work<Row>,
): Promise<readonly Row[]> {
  const { rows } = await acceptRuns(
    deps.database,
    idempotencyOf(request),
    (tx) => work.create(tx),
    (tx, id) => work.find(tx, id),
  );
  await enqueue(deps, request, work.kind, rows);
  return rows;
}

/** submitJobs for work that is one row. */
export async function submitJob<Row extends SubmittedRow>(
  deps: Pick<ServerDeps, 'database' | 'queues'>,
  request: FastifyRequest,
  work: { readonly kind: RunKind; create(tx: Transaction): Promise<Row>; find(tx: Transaction, id: string): Promise<Row> },
): Promise<Row> {
  const [row] = await submitJobs(deps, request, { ...work, create: async (tx) => [await work.create(tx)] });
  invariant(row !== undefined, 'one row was made and none came back');
  return row;
}

async function enqueue(
  deps: Pick<ServerDeps, 'queues'>,
  request: FastifyRequest,
  kind: RunKind,
  rows: readonly SubmittedRow[],
): Promise<void> {
  try {
    // Adding is idempotent, so the rows of a repeated request that still wait are added again.
    for (const row of rows) if (row.status === 'queued') await deps.queues.enqueueRun(kind, row.id, row.workerLabel);
  } catch (error) {
    if (!isHoldfastError(error, 'queue_unreachable')) throw error;
    request.log.warn({ err: error, kind, ids: rows.map((row) => row.id) }, 'accepted without the queue; the reconciler follows');
  }
}

/** Fields whose value is in no hash that is kept: whoever reads the row could try passwords against it. */
const secretFields: ReadonlySet<string> = new Set(['targetPassword', 'encryptionKey', 'password', 'storageCredentials']);

/** Two requests are the same when method, path and checked body are, secrets aside. */
function idempotencyOf(request: FastifyRequest): IdempotencyRequest | null {
  const key = request.headers['idempotency-key'];
  if (typeof key !== 'string') return null;
  const path = request.url.split('?', 1)[0] ?? '';
  const requestHash = createHash('sha256')
    .update(
      `${request.method} ${path}\n${JSON.stringify(request.body ?? {}, (name, value: unknown) => (secretFields.has(name) ? '' : value))}`,
    )
    .digest('hex');
  return { scope: callerOrThrow(request).subject, key, requestHash };
}
