// Runs a program in the foreground: passes signals on, keeps its exit code, and ends it when npm dies.
import { spawn } from 'node:child_process';

const forwardedSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
const parentPollMs = 500;
/** Longer than `holdfast up` takes at most to stop its services and then its database. */
const orphanGraceMs = 120_000;

/**
 * Runs it to its end: { code, signal }. A SIGTERM to npm reaches us and is passed on; a SIGKILL to npm cannot be seen,
 * so the parent's pid is watched instead. Without npm there is no watch: then the parent may be a shell that is free to leave.
 */
export function runChild(program, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', ...options });
    const forwarders = forwardedSignals.map((signal) => [signal, () => child.kill(signal)]);
    for (const [signal, forward] of forwarders) process.on(signal, forward);

    const parentPid = process.ppid;
    let orphanTimer;
    const watch = setInterval(() => {
      if (process.env.npm_lifecycle_event === undefined || process.ppid === parentPid || orphanTimer !== undefined) return;
      child.kill('SIGTERM');
      orphanTimer = setTimeout(() => child.kill('SIGKILL'), orphanGraceMs);
    }, parentPollMs);

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
