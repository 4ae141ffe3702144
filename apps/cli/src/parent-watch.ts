import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded (`node --import`) into the processes that `up` starts: ends them when `up` is gone, killed or not, which shows as the end of
 * the IPC channel. Imported for its effect.
 */

/** A job in hand is put back at once on SIGTERM, and another `up` may be waiting; longer than this is stuck. */
const orphanGraceMs = 8_000;

if (isMainThread && process.channel) {
  process.on('disconnect', () => {
    process.kill(process.pid, 'SIGTERM');
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), orphanGraceMs).unref();
  });
  // The channel must not keep a process alive that has finished.
  process.channel.unref();
}
