import { waitingAlertMs } from '@holdfast/policy/routing';

/**
 * When a worker looks after what. Tests shorten these; in production they are as here, for these reasons:
 *
 * A worker that was killed is noticed by the queue when its lock on the job has run out and another worker's next look comes: it
 * renews every lockRenewMs, so 20 to 30 s are left at its death, and at most 10 s more pass until the look. So its runs go on
 * within 40 s. A lock of minutes would be needed if heavy work held the event loop for so long; it does not (it yields at every
 * read and write), and where it ever did, the second delivery would find a fresh heartbeat or lose to the fencing number.
 */
export interface WorkerTiming {
  readonly heartbeatMs: number;
  readonly reconcileMs: number;
  readonly probeMs: number;
  readonly slotsMs: number;
  readonly sweepMs: number;
  /** How often it is looked for runs that wait for a worker that may do them, and how long one has waited when that is told. */
  readonly waitingMs: number;
  readonly waitingAlertMs: number;
  readonly lockDurationMs: number;
  readonly lockRenewMs: number;
  readonly stalledIntervalMs: number;
  /** A row queued for longer with no job in the queue gets one. Longer than a request needs between its commit and its enqueue. */
  readonly queuedForMs: number;
  /** A running row without a heartbeat for longer belongs to nobody: six heartbeats missed. */
  readonly silentForMs: number;
  /** A running row with a younger heartbeat is somebody's, and is not taken over: two heartbeats missed. */
  readonly heldForMs: number;
  /** How long a second delivery of a run that is in good hands waits. */
  readonly heldDelayMs: number;
  /** How long a run waits inside of an attempt for the repository's lock, and how long it then steps back before it comes again. */
  readonly lockWaitMs: number;
  readonly lockBackoffMs: number;
}

export const productionTiming: WorkerTiming = {
  heartbeatMs: 5_000,
  reconcileMs: 10_000,
  probeMs: 30_000,
  slotsMs: 60_000,
  sweepMs: 600_000,
  waitingMs: 10_000,
  waitingAlertMs,
  lockDurationMs: 30_000,
  lockRenewMs: 10_000,
  stalledIntervalMs: 10_000,
  queuedForMs: 5_000,
  silentForMs: 30_000,
  heldForMs: 12_000,
  heldDelayMs: 5_000,
  lockWaitMs: 10_000,
  lockBackoffMs: 15_000,
};
