import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { Progress } from '@holdfast/jobs/progress';
import { formatDuration } from '../format-amount.ts';
import { paint } from '../paint.ts';
import { openProgressBar, type BarStream } from '../progress-bar.ts';
import { renderTable } from '../result-table.ts';
import type { StepOutcome } from './tour-context.ts';

export interface StepResult extends StepOutcome {
  readonly step: string;
  readonly state: 'ok' | 'failed' | 'skipped';
  readonly milliseconds: number;
}

export interface StepRunner {
  readonly results: readonly StepResult[];
  /** Runs a step, tells of it in one line and remembers it. Undefined when it failed. Throws only when `signal` is aborted. */
  run<Outcome extends StepOutcome>(
    step: string,
    work: (showProgress: (progress: Progress) => void) => Promise<Outcome>,
  ): Promise<Outcome | undefined>;
  /** Remembers a step that could not be tried. */
  skip(step: string, reason: string): void;
  table(): string;
}

const labelWidth = 24;
const detailChars = 110;

export function openStepRunner(output: NodeJS.WriteStream & BarStream, signal: AbortSignal): StepRunner {
  const results: StepResult[] = [];
  const record = (result: StepResult): void => {
    results.push(result);
    const mark = { ok: paint('green', '✓', output), failed: paint('red', '✗', output), skipped: paint('yellow', '-', output) }[
      result.state
    ];
    const facts = [formatDuration(result.milliseconds), result.amount, result.detail].filter((fact) => fact !== '');
    output.write(`  ${mark} ${result.step.padEnd(labelWidth)}  ${facts.join('  ')}\n`);
  };
  return {
    results,
    async run(step, work) {
      const startedAt = performance.now();
      const bar = openProgressBar(`    ${step.padEnd(labelWidth)}`, output, () => performance.now());
      try {
        const outcome = await work((progress) => bar.show(progress));
        bar.clear();
        record({ step, state: 'ok', milliseconds: performance.now() - startedAt, amount: outcome.amount, detail: outcome.detail });
        return outcome;
      } catch (error) {
        bar.clear();
        signal.throwIfAborted();
        record({ step, state: 'failed', milliseconds: performance.now() - startedAt, amount: '', detail: describeError(error) });
        return undefined;
      }
    },
    skip: (step, reason) => record({ step, state: 'skipped', milliseconds: 0, amount: '', detail: reason }),
    table: () =>
      renderTable(
        [
          { title: 'step', align: 'left' },
          { title: 'state', align: 'left' },
          { title: 'seconds', align: 'right' },
          { title: 'amount', align: 'left' },
          { title: 'detail', align: 'left' },
        ],
        results.map((result) => [
          result.step,
          result.state,
          (result.milliseconds / 1000).toFixed(1),
          result.amount,
          // The line above the table has all of it.
          result.detail.length > detailChars ? `${result.detail.slice(0, detailChars - 1)}…` : result.detail,
        ]),
      ),
  };
}

function describeError(error: unknown): string {
  if (isHoldfastError(error)) return `${error.code}: ${error.message} (${error.hint})`;
  return error instanceof Error ? error.message : String(error);
}
