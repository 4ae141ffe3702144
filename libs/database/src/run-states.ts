/**
 * The life of a run as a total table: every state meets every command.
 *
 *   pending ─ start → queued ─ claim → running ─ complete | warn | fail → completed | completed_with_warnings | failed
 *                        ↑───── release ──┘  └ request_cancel → cancelling ─ stop → cancelled
 *
 * `cancelling` is a running row whose cancelRequestedAt is set; it is a state here and not in the rows' enum, because the row
 * is still held by a worker. A run that ended before it saw the request has ended: a finished result is kept.
 */
export const runStates = [
  'pending',
  'queued',
  'running',
  'cancelling',
  'completed',
  'completed_with_warnings',
  'failed',
  'cancelled',
] as const;
export type RunState = (typeof runStates)[number];

/**
 * - start: somebody executes it. claim: a worker takes it, also from a worker that is believed dead.
 * - commit: the holder is about to write what cannot be taken back; changes nothing, but must be allowed.
 * - release: the holder gives it back to be tried again. complete, warn, fail, stop: the holder ends it.
 * - request_cancel: somebody wants it stopped.
 */
export const runCommands = ['start', 'claim', 'commit', 'release', 'complete', 'warn', 'fail', 'stop', 'request_cancel'] as const;
export type RunCommand = (typeof runCommands)[number];

/** Only the holder of the newest fencing number may give these. */
export const fencedCommands = ['commit', 'release', 'complete', 'warn', 'fail', 'stop'] as const satisfies readonly RunCommand[];

export type RunRefusal = 'run_already_finished' | 'run_superseded' | 'run_cancelled' | 'conflict';

export type RunTransition =
  | { readonly to: RunState; readonly event: RunChange }
  /** Nothing is left to do: an answer, not an error. */
  | { readonly to: 'same' }
  | { readonly refused: RunRefusal };

/** The second word of an event's type: `backup.queued`, `verify.failed`. */
export type RunChange = 'accepted' | 'queued' | 'running' | 'retrying' | 'cancelling' | 'completed' | 'failed' | 'cancelled';

const same: RunTransition = { to: 'same' };
const to = (state: RunState, event: RunChange): RunTransition => ({ to: state, event });
const refused = (code: RunRefusal): RunTransition => ({ refused: code });

const notHeld = {
  commit: refused('run_superseded'),
  release: refused('run_superseded'),
  complete: refused('run_superseded'),
  warn: refused('run_superseded'),
  fail: refused('run_superseded'),
  stop: refused('run_superseded'),
} as const;

const finished = { start: refused('run_already_finished'), claim: same, request_cancel: refused('run_already_finished'), ...notHeld };

const held = {
  complete: to('completed', 'completed'),
  warn: to('completed_with_warnings', 'completed'),
  fail: to('failed', 'failed'),
  stop: to('cancelled', 'cancelled'),
} as const;

export const runTransitions: Readonly<Record<RunState, Readonly<Record<RunCommand, RunTransition>>>> = {
  pending: { start: to('queued', 'queued'), claim: same, request_cancel: to('cancelled', 'cancelled'), ...notHeld },
  queued: { start: same, claim: to('running', 'running'), request_cancel: to('cancelled', 'cancelled'), ...notHeld },
  running: {
    ...held,
    start: same,
    claim: to('running', 'running'),
    commit: same,
    release: to('queued', 'retrying'),
    request_cancel: to('cancelling', 'cancelling'),
  },
  // Nobody starts or repeats what somebody wants stopped: whoever meets it first ends it.
  cancelling: {
    ...held,
    start: refused('conflict'),
    claim: to('cancelled', 'cancelled'),
    commit: refused('run_cancelled'),
    release: to('cancelled', 'cancelled'),
    request_cancel: same,
  },
  completed: finished,
  completed_with_warnings: finished,
  failed: finished,
  cancelled: { ...finished, request_cancel: same },
};

/** The table's state of a row. */
export function runStateOf(row: { readonly status: RunStatus; readonly cancelRequestedAt: Date | null }): RunState {
  return row.status === 'running' && row.cancelRequestedAt !== null ? 'cancelling' : row.status;
}

export type RunStatus = Exclude<RunState, 'cancelling'>;

export const finalStatuses = ['completed', 'completed_with_warnings', 'failed', 'cancelled'] as const satisfies readonly RunStatus[];

/** True when nothing will happen to a run any more. */
export function isFinal(status: RunStatus): boolean {
  return (finalStatuses as readonly RunStatus[]).includes(status);
}
