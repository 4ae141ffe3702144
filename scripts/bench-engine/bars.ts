/** What a step must reach against restic in the same run. The bench only reports: a busy machine must not fail a build. */

export type StepName = 'first backup' | 'unchanged backup' | 'backup after 1 %' | 'check all data' | 'restore' | 'restore to disk';
export type Metric = 'wall' | 'cpu' | 'peakRss' | 'repositorySize';

export const stepNames: readonly StepName[] = [
  'first backup',
  'unchanged backup',
  'backup after 1 %',
  'check all data',
  'restore',
  'restore to disk',
];

/** restic's wall time through ours, at least. */
const wallBars: Readonly<Record<StepName, number>> = {
  'first backup': 2,
  'unchanged backup': 3.5,
  'backup after 1 %': 3,
  // Hashing, decrypting and decompressing everything alone keeps any program below 1.8.
  'check all data': 1.6,
  restore: 2.4,
  // The disk decides: never slower.
  'restore to disk': 1,
};

/** Ours through restic's, at most. */
const costBars: Readonly<Record<Exclude<Metric, 'wall'>, number>> = { cpu: 0.6, peakRss: 1.5, repositorySize: 1.01 };

export interface BarResult {
  readonly step: StepName;
  readonly metric: Metric;
  /** wall: restic's through ours (faster is more). Others: ours through restic's (cheaper is less). */
  readonly value: number;
  readonly bar: number;
  readonly reached: boolean;
}

/** NaN, where restic was not measured, reaches nothing. */
export function judge(step: StepName, metric: Metric, value: number): BarResult {
  const bar = metric === 'wall' ? wallBars[step] : costBars[metric];
  return { step, metric, value, bar, reached: metric === 'wall' ? value >= bar : value <= bar };
}

/** Such as `1.70 (≥ 2 no)`. */
export function formatBar({ metric, value, bar, reached }: BarResult): string {
  return Number.isNaN(value) ? '-' : `${value.toFixed(2)} (${metric === 'wall' ? '≥' : '≤'} ${bar} ${reached ? 'ok' : 'no'})`;
}
