// Runs a program in the foreground: passes signals on, keeps its exit code, and ends it when npm dies.
import { spawn } from 'node:child_process';

const FORWARDED_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];
const PARENT_POLL_MS = 500;
/** Longer than `holdfast up` takes at most to stop its services and then its database. */
const ORPHAN_GRACE_MS = 120_000;

/**
 * Runs it to its end: { code, signal }. A SIGTERM to npm reaches us and is passed on; a SIGKILL to npm cannot be seen,
 * so the parent's pid is watched instead. Without npm there is no watch: then the parent may be a shell that is free to leave.
 */
export function runChild(program, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', ...options });
    const forwarders = FORWARDED_SIGNALS.map((signal) => [signal, () => child.kill(signal)]);
    for (const [signal, forward] of forwarders) process.on(signal, forward);

    const parentPid = process.ppid;
    let orphanTimer;
    const watch = setInterval(() => {
      if (process.env.npm_lifecycle_event === undefined || process.ppid === parentPid || orphanTimer !== undefined) return;
      child.kill('SIGTERM');
      orphanTimer = setTimeout(() => child.kill('SIGKILL'), ORPHAN_GRACE_MS);
    }, PARENT_POLL_MS);

    const settle = (act) => {
      clearInterval(watch);
      clearTimeout(orphanTimer);
      for (const [signal, forward] of forwarders) process.off(signal, forward);
      act();
    };
    child.once('error', (error) => settle(() => reject(error)));
    child.once('exit', (code, signal) => settle(() => resolve({ code, signal })));
  });
}

/** Ends this process the way the child ended. */
export function exitLike({ code, signal }) {
  if (signal === null) process.exit(code ?? 1);
  process.kill(process.pid, signal);
  // The signal is on its way; should it be one that we survive, the shell's convention says what happened.
  setTimeout(() => process.exit(1), 1_000);
}
