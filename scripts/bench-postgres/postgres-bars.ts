import { formatNumber, formatTable } from '../bench/report-table.ts';
import { median, ratio } from '../bench/statistics.ts';
import type { Cost } from '../bench/measured-run.ts';
import type { Content } from './made-data.ts';

export const toolNames = ['holdfast', 'pgbackrest', 'pg_basebackup | zstd', 'pg_dump | zstd'] as const;
export type PostgresTool = (typeof toolNames)[number];

export const postgresSteps = ['first full', 'second full', 'incremental', 'logical', 'restore and start'] as const;
export type PostgresStep = (typeof postgresSteps)[number];

export interface PostgresRun extends Cost {
  readonly content: Content;
  readonly round: number;
  readonly step: PostgresStep;
  readonly tool: PostgresTool;
  /** That the step added to the repository, or the file that it wrote. */
  readonly writtenBytes?: number;
}

/** The other's wall time through ours, at least. */
const wallBars: readonly { readonly step: PostgresStep; readonly peer: PostgresTool; readonly bar: number }[] = [
  { step: 'first full', peer: 'pg_basebackup | zstd', bar: 1.1 },
  { step: 'first full', peer: 'pgbackrest', bar: 1.1 },
  { step: 'second full', peer: 'pgbackrest', bar: 1.5 },
  { step: 'incremental', peer: 'pgbackrest', bar: 3 },
  { step: 'logical', peer: 'pg_dump | zstd', bar: 1.2 },
  { step: 'restore and start', peer: 'pgbackrest', bar: 1.2 },
];
/** What the other wrote through what ours wrote, at least. */
const secondFullSizeBar = 3;
export const rssBarBytes = 400 * 1024 * 1024;

/** The table of medians; beside the other's time how many times faster ours was, and the bar. */
export function summarizePostgres(runs: readonly PostgresRun[]): { table: string; medians: object[] } {
  const medians = [...new Set(runs.map(({ content }) => content))].flatMap((content) =>
    postgresSteps.flatMap((step) => toolNames.flatMap((tool) => mediansOf(runs, content, step, tool))),
  );
  const rows = medians.map((values) => {
    const ours = medians.find(({ content, step, tool }) => content === values.content && step === values.step && tool === 'holdfast');
    const isOurs = values.tool === 'holdfast';
    const bar = wallBars.find(({ step, peer }) => step === values.step && peer === values.tool)?.bar;
    const sizeBar = values.step === 'second full' && !isOurs ? secondFullSizeBar : undefined;
    return [
      `${values.content} ${values.step}`,
      values.tool,
      formatNumber(values.wallMs / 1000),
      isOurs ? '' : judged(ratio(values.wallMs, ours?.wallMs), bar),
      formatNumber(values.cpuMs / 1000),
      formatNumber(values.peakRssBytes / 1e6) + (isOurs && values.peakRssBytes > rssBarBytes ? ' (≤ 419 no)' : ''),
      formatNumber(Number.isNaN(values.writtenBytes) ? undefined : values.writtenBytes / 1e6),
      isOurs ? '' : judged(ratio(values.writtenBytes, ours?.writtenBytes), sizeBar),
    ];
  });
  const headers = ['step', 'tool', 'wall s', 'ours × faster', 'CPU s', 'peak RSS MB', 'written MB', 'ours × smaller'];
  return { table: formatTable(headers, rows), medians };
}

function judged(value: number, bar: number | undefined): string {
  if (Number.isNaN(value)) return '-';
  return bar === undefined ? value.toFixed(2) : `${value.toFixed(2)} (≥ ${bar} ${value >= bar ? 'ok' : 'no'})`;
}

function mediansOf(all: readonly PostgresRun[], content: Content, step: PostgresStep, tool: PostgresTool) {
  const runs = all.filter((run) => run.content === content && run.step === step && run.tool === tool);
  if (runs.length === 0) return [];
  return [
    {
      content,
      step,
      tool,
      wallMs: median(runs.map(({ wallMs }) => wallMs)),
      cpuMs: median(runs.map(({ userMs, systemMs }) => userMs + systemMs)),
      peakRssBytes: median(runs.map(({ peakRssBytes }) => peakRssBytes)),
      writtenBytes: median(runs.flatMap(({ writtenBytes }) => writtenBytes ?? [])),
    },
  ];
}
