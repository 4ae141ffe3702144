import type { BackupTool, ToolName } from './backup-tool.ts';
import { formatBar, judge, stepNames, type BarResult, type Metric, type StepName } from './bars.ts';
import { formatNumber, formatTable } from '../bench/report-table.ts';
import type { ScenarioReport } from './scenario.ts';
import type { StepRun } from './standard-scenario.ts';
import { median, ratio } from '../bench/statistics.ts';

export interface StandardResults {
  readonly runs: readonly StepRun[];
  readonly data: { readonly fileCount: number; readonly sizeBytes: number; readonly changedCount: number };
  readonly tools: readonly Pick<BackupTool, 'name' | 'version'>[];
  readonly verified: readonly string[];
}

/** Medians over the rounds of one tool in one step. */
export interface StepMedians {
  readonly step: StepName;
  readonly tool: ToolName;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakRssBytes: number;
  readonly repositorySizeBytes?: number;
}

const metrics: readonly Metric[] = ['wall', 'cpu', 'peakRss', 'repositorySize'];

/** The table of medians, with the ratio to restic and its bar beside each of our figures. */
export function summarize({ runs, data, tools, verified }: StandardResults): ScenarioReport {
  const medians = stepNames.flatMap((step) => tools.flatMap(({ name }) => medianOf(step, name, runs)));
  const bars = medians.filter(({ tool }) => tool === 'holdfast').flatMap((ours) => judgeStep(ours, medians));
  const rows = medians.map((values) => toRow(values, values.tool === 'holdfast' ? bars.filter(({ step }) => step === values.step) : []));
  const headers = ['step', 'tool', 'wall s', '× faster', 'CPU s', '× restic', 'peak RSS MB', '× restic', 'repository MB', '× restic'];
  const judged = bars.filter(({ value }) => !Number.isNaN(value));
  const notes = [
    `data: ${data.fileCount} files, ${formatNumber(data.sizeBytes / 1e6)} MB, of which ${data.changedCount} files change`,
    `bars reached: ${judged.filter(({ reached }) => reached).length} of ${judged.length}`,
    ...verified,
  ];
  return { table: formatTable(headers, rows), notes, json: { data, medians, bars, verified, runs } };
}

function medianOf(step: StepName, tool: ToolName, allRuns: readonly StepRun[]): StepMedians[] {
  const runs = allRuns.filter((run) => run.step === step && run.tool === tool);
  if (runs.length === 0) return [];
  const sizes = runs.flatMap(({ repositorySizeBytes }) => repositorySizeBytes ?? []);
  return [
    {
      step,
      tool,
      wallMs: median(runs.map(({ wallMs }) => wallMs)),
      cpuMs: median(runs.map(({ userMs, systemMs }) => userMs + systemMs)),
      peakRssBytes: median(runs.map(({ peakRssBytes }) => peakRssBytes)),
      ...(sizes.length === 0 ? {} : { repositorySizeBytes: median(sizes) }),
    },
  ];
}

function judgeStep(ours: StepMedians, medians: readonly StepMedians[]): BarResult[] {
  const restic = medians.find(({ step, tool }) => step === ours.step && tool === 'restic');
  const values: Record<Metric, number> = {
    wall: ratio(restic?.wallMs, ours.wallMs),
    cpu: ratio(ours.cpuMs, restic?.cpuMs),
    peakRss: ratio(ours.peakRssBytes, restic?.peakRssBytes),
    repositorySize: ratio(ours.repositorySizeBytes, restic?.repositorySizeBytes),
  };
  return metrics
    .filter((metric) => metric !== 'repositorySize' || ours.repositorySizeBytes !== undefined)
    .map((metric) => judge(ours.step, metric, values[metric]));
}

function toRow(values: StepMedians, bars: readonly BarResult[]): string[] {
  const { step, tool, wallMs, cpuMs, peakRssBytes, repositorySizeBytes } = values;
  const barOf = (metric: Metric): string => {
    const bar = bars.find((result) => result.metric === metric);
    return bar === undefined ? '' : formatBar(bar);
  };
  const size = repositorySizeBytes === undefined ? '' : formatNumber(repositorySizeBytes / 1e6);
  const [wall, cpu, rss] = [wallMs / 1000, cpuMs / 1000, peakRssBytes / 1e6].map(formatNumber);
  return [step, tool, wall ?? '', barOf('wall'), cpu ?? '', barOf('cpu'), rss ?? '', barOf('peakRss'), size, barOf('repositorySize')];
}
