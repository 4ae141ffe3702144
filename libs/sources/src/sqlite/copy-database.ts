import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { CopyEvent, CopyFacts, CopyFailure, CopyRequest } from './copy-messages.ts';

export interface DatabaseCopyOptions extends CopyRequest {
  /** What the database is called in messages. */
  readonly shownPath: string;
  /** Ends the process that copies. */
  readonly signal: AbortSignal;
}

export interface FinishedCopy {
  readonly facts: CopyFacts;
  /** What the check found; empty when all is well. */
  readonly findings: readonly string[];
}

/** A copy that is being made. Who leaves it aborts its signal and waits for `ended`. */
export interface DatabaseCopy {
  /** Resolves when it is settled what the copy will hold; rejects as `finished` does when that never comes. */
  readonly moment: Promise<void>;
  /** Resolves when the copy is whole. */
  readonly finished: Promise<FinishedCopy>;
  /** Never rejects. No process is left then. */
  readonly ended: Promise<void>;
}

const codes: Readonly<Record<CopyFailure, ErrorCode>> = {
  busy: 'sqlite_busy',
  disk_full: 'sqlite_disk_full',
  not_a_database: 'sqlite_damaged',
  denied: 'sqlite_denied',
  hot_journal: 'sqlite_unfinished',
  other: 'sqlite_failed',
};

const program = fileURLToPath(new URL('copy-process.ts', import.meta.url));
/** The end of what a process said that died. */
const maxComplaintLength = 2_000;

/**
 * Begins to copy a SQLite database into a file, by the online backup API, in a process of its own. With WAL the moment is there at once and
 * nobody is held up; without it the copy is begun anew whenever somebody writes, until it is whole or `patienceMs` are over. Codes, of the promises:
 * sqlite_busy, sqlite_disk_full, sqlite_damaged, sqlite_unfinished, sqlite_denied, sqlite_failed, the signal's reason.
 */
export function beginCopy({ shownPath, signal, ...request }: DatabaseCopyOptions): DatabaseCopy {
  const moment = Promise.withResolvers<void>();
  const finished = Promise.withResolvers<FinishedCopy>();
  const ended = Promise.withResolvers<void>();
  // Some callers wait for one of the two only.
  moment.promise.catch(() => undefined);
  finished.promise.catch(() => undefined);
  const fail = (error: unknown): void => {
    moment.reject(error);
    finished.reject(error);
  };
  if (signal.aborted) {
    fail(signal.reason);
    ended.resolve();
    return { moment: moment.promise, finished: finished.promise, ended: ended.promise };
  }
  const execArgv = ['--disable-warning=ExperimentalWarning'];
  const child = fork(program, { execArgv, env: {}, cwd: '/', stdio: ['ignore', 'ignore', 'pipe', 'ipc'], killSignal: 'SIGKILL' });
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(-maxComplaintLength)));
  const onAbort = (): void => {
    fail(signal.reason);
    child.kill('SIGKILL');
  };
  signal.addEventListener('abort', onAbort, { once: true });
  child.on('message', (message) => {
    // oxlint-disable-next-line no-unsafe-type-assertion -- what our own program sends
    const event = message as CopyEvent;
    if (event.kind === 'moment') moment.resolve();
    else if (event.kind === 'copied') finished.resolve({ facts: event.facts, findings: event.findings });
    else fail(copyError(event, shownPath));
  });
  child.on('error', (error) => {
    fail(new HoldfastError('sqlite_failed', `the process that copies ${JSON.stringify(shownPath)} could not be run: ${error.message}`));
    // Without a process there is no close.
    if (child.pid === undefined) ended.resolve();
  });
  child.on('close', (code, killedBy) => {
    signal.removeEventListener('abort', onAbort);
    const how = killedBy ?? `code ${code}`;
    fail(new HoldfastError('sqlite_failed', `the process that copies ${JSON.stringify(shownPath)} ended with ${how}: ${complaint.trim()}`));
    ended.resolve();
  });
  child.send(request);
  return { moment: moment.promise, finished: finished.promise, ended: ended.promise };
}

function copyError({ reason, message }: CopyEvent & { kind: 'failed' }, shownPath: string): HoldfastError {
  return new HoldfastError(codes[reason], `SQLite database ${JSON.stringify(shownPath)}: ${message}`, { context: { path: shownPath } });
}
