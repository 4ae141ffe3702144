import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { Prisma } from '../generated/client.ts';
import { appendEvent, type NewEvent } from './events.ts';
import { inTransaction, runTransaction } from './in-transaction.ts';
import type { JsonObject } from './json-object.ts';
import type { Database, Transaction } from './open-database.ts';
import { runKinds, runTables, type RunKind, type RunResults } from './run-kinds.ts';
import { writeResult } from './run-results.ts';
import { runStateOf, runTransitions, type RunCommand, type RunState, type RunStatus } from './run-states.ts';

/** Woken with `<kind>:<id>` when a running run is to be stopped. */
export const cancelChannel = 'holdfast_cancel';

/** How long a commit under fence may hold its row: an index and a snapshot file at a slow storage. Waiting claims outlast it. */
const commitTimeoutMs = 30_000;

/** The right to work on a run until somebody claims it anew. */
export interface Claim<K extends RunKind = RunKind> {
  readonly kind: K;
  readonly id: string;
  /** 1 for the first. */
  readonly attempt: number;
  readonly fencingNumber: bigint;
}

export type RunOutcome<K extends RunKind> =
  | {
      readonly status: 'completed' | 'completed_with_warnings';
      readonly result: RunResults[K];
      /** What else happened, told together with the end and just as surely. */
      readonly events?: readonly NewEvent[];
    }
  | { readonly status: 'failed'; readonly error: RunError; readonly result?: Partial<RunResults[K]> | undefined }
  | { readonly status: 'cancelled'; readonly result?: Partial<RunResults[K]> | undefined };

/** What a row says about a failure: a HoldfastError fits. */
export interface RunError {
  readonly code: string;
  readonly message: string;
}

/**
 * Takes a queued run, or a running one over from a worker that lost it: attempt and fencing number go up, so that whatever the
 * former holder still does is refused. Null when there is nothing to do: the row is final, pending, missing, was to be cancelled
 * (which it then is), or names a label that the worker does not carry, as one does whose config has moved since it was queued. Waits for a commit under fence of the former holder to end.
 * Times are the database's clock unless `now` is given. Code: database_unreachable.
 */
export async function claimRun<K extends RunKind>(
  db: Database,
  kind: K,
  id: string,
  by: { readonly workerId: string; readonly carries?: (workerLabel: string | null) => boolean; readonly now?: Date },
): Promise<Claim<K> | null> {
  return inTransaction(db, async (tx) => {
    const row = await lockRow(tx, kind, id);
    if (row === null || by.carries?.(row.workerLabel) === false) return null;
    const now = clock(by.now);
    const claimed = Prisma.sql`"attempt" = "attempt" + 1, "fencingNumber" = "fencingNumber" + 1, "claimedBy" = ${by.workerId},
      "heartbeatAt" = ${now}, "startTime" = COALESCE("startTime", ${now}), "waitingToldAt" = NULL`;
    const changed = await apply(tx, kind, row, 'claim', (state) => (state === 'running' ? claimed : ended(by.now)));
    if (changed?.status !== 'running') return null;
    return { kind, id, attempt: changed.attempt, fencingNumber: changed.fencingNumber };
  });
}

/**
 * Says of each claim that it is still worked on. `held`: still ours; `superseded`: somebody else has it or it is final: stop
 * working; `cancelRequested` (part of `held`): stop, then finish as cancelled. A row that is being committed keeps its old
 * heartbeat rather than make the others wait. Code: database_unreachable.
 */
export async function heartbeatRuns(
  db: Database,
  claims: readonly Claim[],
  options: { readonly now?: Date } = {},
): Promise<{ held: Claim[]; superseded: Claim[]; cancelRequested: Claim[] }> {
  const answer = { held: [] as Claim[], superseded: [] as Claim[], cancelRequested: [] as Claim[] };
  for (const [kind, ofKind] of Map.groupBy(claims, (claim) => claim.kind)) {
    const ids = ofKind.map((claim) => claim.id);
    const fences = ofKind.map((claim) => claim.fencingNumber);
    await db.client.$executeRaw`
      UPDATE ${runTables[kind]} SET "heartbeatAt" = ${clock(options.now)} WHERE "id" IN (
        SELECT run."id" FROM ${runTables[kind]} run JOIN unnest(${ids}::text[], ${fences}::bigint[]) AS mine(id, fence)
          ON run."id" = mine.id AND run."fencingNumber" = mine.fence
        WHERE run."status" = 'running' FOR NO KEY UPDATE OF run SKIP LOCKED)`;
    const rows = await db.client.$queryRaw<RunRow[]>`SELECT ${runColumns} FROM ${runTables[kind]} WHERE "id" = ANY(${ids}::text[])`;
    const byId = new Map(rows.map((row) => [row.id, row]));
    for (const claim of ofKind) {
      const row = byId.get(claim.id);
      const held = row !== undefined && row.status === 'running' && row.fencingNumber === claim.fencingNumber;
      (held ? answer.held : answer.superseded).push(claim);
      if (held && row.cancelRequestedAt !== null) answer.cancelRequested.push(claim);
    }
  }
  return answer;
}

/**
 * Does `action` while nobody else can claim, cancel or end the run: for writing what cannot be taken back, such as a snapshot.
 * Before `action` the claim is checked: `run_superseded` or `run_cancelled` is thrown and nothing is done.
 *
 * `action` ends the run through `tx` with finishRunIn, last. When it throws, nothing is written to rows. `signal` is aborted at
 * `timeoutMs` (30 s when not given), when the row is let go: what `action` then still does is no longer protected. When the
 * connection is lost the rows may not know what `action` wrote, which the next attempt must find out.
 */
export async function commitUnderFence<K extends RunKind, T>(
  db: Database,
  claim: Claim<K>,
  action: (tx: Transaction, signal: AbortSignal) => Promise<T>,
  options: { readonly timeoutMs?: number } = {},
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? commitTimeoutMs;
  return runTransaction(db, timeoutMs, async (tx) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const row = await lockHeldRow(tx, claim);
    await apply(tx, claim.kind, row, 'commit', () => null);
    return action(tx, signal);
  });
}

/**
 * Ends a run. Telling the same end twice under the same claim is no error, so it may be repeated after a lost connection.
 * Codes: run_superseded (somebody else has the run: drop the result), database_unreachable.
 */
export async function finishRun<K extends RunKind>(
  db: Database,
  claim: Claim<K>,
  outcome: RunOutcome<K>,
  options: { readonly now?: Date } = {},
): Promise<void> {
  await inTransaction(db, (tx) => finishRunIn(tx, claim, outcome, options), { repeatable: true });
}

/** finishRun inside a transaction: after every other change of it, since the event holds the numbering lock. */
export async function finishRunIn<K extends RunKind>(
  tx: Transaction,
  claim: Claim<K>,
  outcome: RunOutcome<K>,
  options: { readonly now?: Date } = {},
): Promise<void> {
  const row = await lockRow(tx, claim.kind, claim.id);
  const isMine = row !== null && row.fencingNumber === claim.fencingNumber;
  if (isMine && row.status === outcome.status) return;
  if (!isMine) throw superseded(claim);
  if (outcome.result !== undefined) await writeResult(tx, claim.kind, claim.id, outcome.result);
  if ('events' in outcome) for (const event of outcome.events ?? []) await appendEvent(tx, event);
  const error = outcome.status === 'failed' ? outcome.error : null;
  // A verification that came to a verdict says when, also when the verdict is damage.
  const isVerdict = claim.kind === 'verify' && outcome.result !== undefined && outcome.status !== 'cancelled';
  const verdict = isVerdict ? Prisma.sql`, "verifiedAt" = ${clock(options.now)}` : Prisma.empty;
  await apply(tx, claim.kind, row, finishCommands[outcome.status], () => Prisma.sql`${ended(options.now, error)}${verdict}`);
}

/**
 * Gives a run back to be tried again, keeping the error that made it necessary; ends it as cancelled when that was asked for.
 * Gives the status that the row now has. Codes: run_superseded, database_unreachable.
 */
export async function releaseRun(db: Database, claim: Claim, error: RunError, options: { readonly now?: Date } = {}): Promise<RunStatus> {
  return inTransaction(
    db,
    async (tx) => {
      const row = await lockRow(tx, claim.kind, claim.id);
      if (row === null || row.fencingNumber !== claim.fencingNumber) throw superseded(claim);
      if (row.status === 'queued') return row.status;
      const released = Prisma.sql`"queuedAt" = ${clock(options.now)}, "claimedBy" = NULL, "heartbeatAt" = NULL,
        "errorCode" = ${error.code}, "errorMessage" = ${error.message}`;
      const changed = await apply(tx, claim.kind, row, 'release', (state) => (state === 'queued' ? released : ended(options.now)));
      return changed?.status ?? row.status;
    },
    { repeatable: true },
  );
}

/**
 * Makes a pending run owed; one that is owed or under way is left as it is. Gives the status that the row now has.
 * Codes: not_found, run_already_finished, conflict (it is being cancelled), database_unreachable.
 */
export async function startRun(db: Database, kind: RunKind, id: string, options: { readonly now?: Date } = {}): Promise<RunStatus> {
  return inTransaction(db, (tx) => startRunIn(tx, kind, id, options), { repeatable: true });
}

/** startRun inside a transaction: after every other change of it, since the event holds the numbering lock. */
export async function startRunIn(tx: Transaction, kind: RunKind, id: string, options: { readonly now?: Date } = {}): Promise<RunStatus> {
  const row = await lockExistingRow(tx, kind, id);
  const changed = await apply(tx, kind, row, 'start', () => Prisma.sql`"queuedAt" = ${clock(options.now)}`);
  return changed?.status ?? row.status;
}

/**
 * Cancels a waiting run at once, and asks the worker of a running one to stop. Gives the status that the row now has:
 * `running` means that the worker was asked. Codes: not_found, run_already_finished, database_unreachable.
 */
export async function requestCancel(db: Database, kind: RunKind, id: string, options: { readonly now?: Date } = {}): Promise<RunStatus> {
  return inTransaction(
    db,
    async (tx) => {
      const row = await lockExistingRow(tx, kind, id);
      const changed = await apply(tx, kind, row, 'request_cancel', (state) =>
        state === 'cancelling' ? Prisma.sql`"cancelRequestedAt" = ${clock(options.now)}` : ended(options.now),
      );
      if (changed?.status === 'running') await tx.$executeRaw`SELECT pg_notify(${cancelChannel}, ${`${kind}:${id}`})`;
      return changed?.status ?? row.status;
    },
    { repeatable: true },
  );
}

export interface OwedRun {
  readonly kind: RunKind;
  readonly id: string;
  readonly status: 'queued' | 'running';
  readonly attempt: number;
  readonly workerLabel: string | null;
}

/**
 * The runs that should have a live queue job: queued for longer than `queuedForMs`, or running with a heartbeat older than
 * `silentForMs`. Oldest first, at most `limit` a kind and label: those that wait for an absent worker leave the others their turn.
 */
export async function runsOwed(
  rows: Transaction,
  query: { readonly queuedForMs: number; readonly silentForMs: number; readonly limit: number; readonly now?: Date },
): Promise<OwedRun[]> {
  const owed: OwedRun[] = [];
  for (const kind of runKinds) {
    const now = clock(query.now);
    const found = await rows.$queryRaw<Omit<OwedRun, 'kind'>[]>`
      SELECT "id", "status", "attempt", "workerLabel" FROM (
        SELECT "id", "status"::text, "attempt", "workerLabel", "queuedAt",
          row_number() OVER (PARTITION BY "workerLabel" ORDER BY "queuedAt", "id") AS nth
        FROM ${runTables[kind]}
        WHERE ("status" = 'queued' AND "queuedAt" < ${now} - ${query.queuedForMs} * interval '1 millisecond')
           OR ("status" = 'running' AND "heartbeatAt" < ${now} - ${query.silentForMs} * interval '1 millisecond')) run
      WHERE nth <= ${query.limit} ORDER BY "queuedAt", "id"`;
    owed.push(...found.map((row) => ({ ...row, kind })));
  }
  return owed;
}

const finishCommands = {
  completed: 'complete',
  completed_with_warnings: 'warn',
  failed: 'fail',
  cancelled: 'stop',
} as const satisfies Record<string, RunCommand>;

/** The run columns that decide. */
interface RunRow {
  readonly id: string;
  readonly businessEntityId: string;
  readonly status: RunStatus;
  readonly attempt: number;
  readonly fencingNumber: bigint;
  readonly cancelRequestedAt: Date | null;
  readonly workerLabel: string | null;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
}

const runColumns = Prisma.raw(
  '"id", "businessEntityId", "status"::text, "attempt", "fencingNumber", "cancelRequestedAt", "workerLabel", "errorCode", "errorMessage"',
);

function clock(now: Date | undefined): Prisma.Sql {
  return now === undefined ? Prisma.sql`clock_timestamp()` : Prisma.sql`${now}::timestamptz`;
}

/** The columns of an end. A clock that was set back makes no negative duration. */
function ended(now: Date | undefined, error: RunError | null = null): Prisma.Sql {
  const durationMs = Prisma.sql`GREATEST(round(extract(epoch FROM ${clock(now)} - "startTime") * 1000)::bigint, 0)`;
  return Prisma.sql`"endTime" = ${clock(now)}, "duration" = CASE WHEN "startTime" IS NOT NULL THEN ${durationMs} END,
    "errorCode" = ${error?.code ?? null}, "errorMessage" = ${error?.message ?? null}`;
}

/** Locks against every other change, but lets other tables go on referring to the row. */
async function lockRow(tx: Transaction, kind: RunKind, id: string): Promise<RunRow | null> {
  const rows = await tx.$queryRaw<RunRow[]>`SELECT ${runColumns} FROM ${runTables[kind]} WHERE "id" = ${id} FOR NO KEY UPDATE`;
  return rows[0] ?? null;
}

async function lockExistingRow(tx: Transaction, kind: RunKind, id: string): Promise<RunRow> {
  const row = await lockRow(tx, kind, id);
  if (row === null) throw new HoldfastError('not_found', `there is no ${kind} run ${id}`, { context: { id } });
  return row;
}

async function lockHeldRow(tx: Transaction, claim: Claim): Promise<RunRow> {
  const row = await lockRow(tx, claim.kind, claim.id);
  if (row === null || row.fencingNumber !== claim.fencingNumber) throw superseded(claim);
  return row;
}

function superseded(claim: Claim): HoldfastError {
  return new HoldfastError('run_superseded', `${claim.kind} run ${claim.id} is no longer held by attempt ${claim.attempt}`, {
    context: { kind: claim.kind, id: claim.id, attempt: claim.attempt },
  });
}

/** One step of the table on a locked row: its columns, then its event. Null when the table says that nothing changes. */
async function apply(
  tx: Transaction,
  kind: RunKind,
  row: RunRow,
  command: RunCommand,
  columns: (to: RunState) => Prisma.Sql | null,
): Promise<RunRow | null> {
  const from = runStateOf(row);
  const transition = runTransitions[from][command];
  if ('refused' in transition) {
    throw new HoldfastError(transition.refused, `${kind} run ${row.id} is ${from}`, { context: { kind, id: row.id, status: from } });
  }
  if (transition.to === 'same') return null;
  const status = transition.to === 'cancelling' ? 'running' : transition.to;
  const set = columns(transition.to) ?? Prisma.sql`"id" = "id"`;
  const rows = await tx.$queryRaw<RunRow[]>`
    UPDATE ${runTables[kind]} SET "status" = ${status}::"RunStatus", "updatedAt" = clock_timestamp(), ${set}
    WHERE "id" = ${row.id} RETURNING ${runColumns}`;
  const changed = rows[0] ?? row;
  await appendRunEvent(tx, kind, changed, transition.event);
  return changed;
}

/** What an event says of a run. */
export type EventfulRun = Pick<RunRow, 'id' | 'businessEntityId' | 'status' | 'attempt' | 'errorCode' | 'errorMessage'>;

/** The event of a run's row as it now is: for the functions that create rows too. */
export async function appendRunEvent(
  tx: Transaction,
  kind: RunKind,
  row: EventfulRun,
  change: string,
  more: JsonObject = {},
): Promise<void> {
  const error = row.errorCode === null ? {} : { errorCode: row.errorCode, errorMessage: row.errorMessage };
  await appendEvent(tx, {
    businessEntityId: row.businessEntityId,
    type: `${kind}.${change}`,
    subjectKind: kind,
    subjectId: row.id,
    data: { status: row.status, attempt: row.attempt, ...error, ...more },
  });
}

/** True for the two refusals that mean: stop and write nothing more. */
export function isRunLost(error: unknown): boolean {
  return isHoldfastError(error, 'run_superseded') || isHoldfastError(error, 'run_cancelled');
}
