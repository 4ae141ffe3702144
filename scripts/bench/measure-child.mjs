// node measure-child.mjs RESULT LOG PROGRAM ARGS...   runs the program to its end and writes what it cost to RESULT, as JSON.
//
// The cost is what the kernel counted, asked by getrusage(RUSAGE_CHILDREN): the processor time of all threads and of all processes that the
// program waited for, and the highest resident set, exact to the page. Sampling /proc misses the last moments and short peaks;
// process.resourceUsage() knows only the process itself. The kernel gives a sum over all children and the largest of them, hence a process
// of its own for each run. Plain JavaScript: a program starts with the peak of the process that spawned it (one address space until exec),
// so a small spawner makes a low floor; the floor is in the result.
import { spawn } from 'node:child_process';
import { openSync, writeFileSync } from 'node:fs';

const RUSAGE_SELF = 0;
const RUSAGE_CHILDREN = -1;
/** struct rusage of 64-bit Linux: two timevals of 16 bytes, then 14 longs, of which the first is ru_maxrss in KiB. */
const RUSAGE_BYTES = 16 * 2 + 8 * 14;

process.removeAllListeners('warning'); // that ffi is experimental is known here
const { dlopen } = await import('node:ffi');
const { functions } = dlopen(null, { getrusage: { arguments: ['i32', 'buffer'], return: 'i32' } });

function usageOf(who) {
  const bytes = Buffer.alloc(RUSAGE_BYTES);
  if (functions.getrusage(who, bytes) !== 0) throw new Error('getrusage failed');
  const timeMs = (at) => Number(bytes.readBigInt64LE(at)) * 1000 + Number(bytes.readBigInt64LE(at + 8)) / 1000;
  return { userMs: timeMs(0), systemMs: timeMs(16), peakRssBytes: Number(bytes.readBigInt64LE(32)) * 1024 };
}

const [resultPath, logPath, program, ...args] = process.argv.slice(2);
const log = openSync(logPath, 'a');
const before = usageOf(RUSAGE_CHILDREN);
const startedAtMs = performance.now();
const child = spawn(program, args, { stdio: ['ignore', log, log] });
const floorRssBytes = usageOf(RUSAGE_SELF).peakRssBytes;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.once('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
child.once('exit', (code, signal) => {
  const wallMs = performance.now() - startedAtMs;
  const { userMs, systemMs, peakRssBytes } = usageOf(RUSAGE_CHILDREN);
  const cost = { wallMs, userMs: userMs - before.userMs, systemMs: systemMs - before.systemMs, peakRssBytes, floorRssBytes };
  writeFileSync(resultPath, JSON.stringify({ code, signal, ...cost }));
});
