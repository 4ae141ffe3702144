import { spawn } from 'node:child_process';

/** One command of a check, and what holds when it passes. */
export interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly holds: string;
}

export interface StepResult {
  readonly step: Step;
  readonly ok: boolean;
  readonly durationMs: number;
  /** Standard output and error, in the order in which they came. */
  readonly output: string;
}

/** A step of this repository takes seconds; one that takes this long hangs. */
const stepLimitMs = 10 * 60_000;

interface RunOptions {
  readonly folder: string;
  readonly maxParallel: number;
  readonly signal?: AbortSignal;
  readonly onEnd?: (result: StepResult) => void;
}

/** Runs every step, `maxParallel` at a time, whatever the others say. Results come in the order of the steps. */
export async function runSteps(steps: readonly Step[], options: RunOptions): Promise<StepResult[]> {
  const results: StepResult[] = [];
  const waiting = [...steps.entries()];
  const runNext = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [position, step] = next;
      const result = await runStep(step, options);
      results[position] = result;
      options.onEnd?.(result);
    }
  };
  await Promise.all(Array.from({ length: options.maxParallel }, runNext));
  return results;
}

function runStep(step: Step, { folder, signal }: RunOptions): Promise<StepResult> {
  const startedAtMs = performance.now();
  const [program, ...args] = step.command;
  const limit = AbortSignal.timeout(stepLimitMs);
  return new Promise((resolve) => {
    let output = '';
    const end = (ok: boolean, remark = ''): void =>
      resolve({ step, ok, durationMs: performance.now() - startedAtMs, output: output + remark });
    const child = spawn(program, args, {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      // What is said is kept and shown as text.
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined },
      signal: signal === undefined ? limit : AbortSignal.any([limit, signal]),
    });
    const collect = (chunk: string): void => void (output += chunk);
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    child.once('error', (error) => end(false, `${step.command.join(' ')}: ${error.message}\n`));
    child.once('close', (code, killedBy) => end(code === 0, killedBy === null ? '' : `ended by ${killedBy}\n`));
  });
}

/** What failed with everything that it said, then the table of steps. */
export function report(results: readonly StepResult[], wallMs: number): string {
  const failures = results.filter((result) => !result.ok).map(({ step, output }) => `── ${step.name} ──\n${output.trimEnd()}\n`);
  const width = Math.max(4, ...results.map(({ step }) => step.name.length));
  const row = (name: string, seconds: string, ok: string, holds: string): string =>
    `${name.padEnd(width)}  ${seconds.padStart(7)}  ${ok.padEnd(4)}  ${holds}`;
  const rows = results.map(({ step, ok, durationMs }) => row(step.name, inSeconds(durationMs), ok ? 'ok' : 'FAIL', step.holds));
  const passedCount = results.filter((result) => result.ok).length;
  const last = `${passedCount} of ${results.length} steps ok in ${inSeconds(wallMs)} s`;
  return [...failures, row('step', 'seconds', '', 'what holds'), ...rows, last].join('\n');
}

function inSeconds(durationMs: number): string {
  return (durationMs / 1000).toFixed(1);
}
