import type { Cost } from '../bench/measured-run.ts';
import { formatNumber, formatTable } from '../bench/report-table.ts';
import { median, ratio } from '../bench/statistics.ts';
import type { PlaceKind } from './storage-place.ts';

export const toolNames = ['holdfast', 'rclone', 'restic'] as const;
export type StorageTool = (typeof toolNames)[number];

export const storageSteps = ['transfer up', 'transfer down', 'backup', 'restore'] as const;
export type StorageStep = (typeof storageSteps)[number];

/** `line`: through a process that hands on every byte at once; `delayed`: through the same, later. */
export const ways = ['straight', 'line', 'delayed'] as const;
export type Way = (typeof ways)[number];

export interface StorageRun extends Cost {
  readonly kind: PlaceKind;
  readonly round: number;
  readonly step: StorageStep;
  readonly way: Way;
  readonly tool: StorageTool;
  /** Of the files that were moved or backed up. */
  readonly bytes: number;
  /** Processor time of all the machine in the meantime but the tool's: the server's, and that of who stands before it. */
  readonly othersCpuMs: number;
}

/** The other's wall time through ours, at least. */
const wallBars: Readonly<Record<StorageStep, { readonly peer: StorageTool; readonly bar: number }>> = {
  'transfer up': { peer: 'rclone', bar: 0.9 },
  'transfer down': { peer: 'rclone', bar: 0.9 },
  backup: { peer: 'restic', bar: 1.3 },
  restore: { peer: 'restic', bar: 1.3 },
};
/** Our wall time without a delay through that with it, at least. */
const delayBar = 0.8;
const rssBarBytes = 400 * 1024 * 1024;
/** One more server to be measured; few use it. */
const kindsWithoutBars: ReadonlySet<PlaceKind> = new Set(['ftp']);

/** The table of medians; beside the other's time how many times faster ours was, and the bar. */
export function summarizeStorage(runs: readonly StorageRun[]): { table: string; medians: readonly StorageMedians[] } {
  const medians = [...new Set(runs.map(({ kind }) => kind))].flatMap((kind) =>
    storageSteps.flatMap((step) => ways.flatMap((way) => toolNames.flatMap((tool) => mediansOf(runs, { kind, step, way, tool })))),
  );
  const rows = medians.map((values) => {
    const isOurs = values.tool === 'holdfast';
    const ours = (way: Way): StorageMedians | undefined => medians.find((each) => isSame(each, { ...values, way, tool: 'holdfast' }));
    const { peer, bar } = wallBars[values.step];
    const isJudged = !kindsWithoutBars.has(values.kind);
    const isOver = isOurs && isJudged && values.peakRssBytes > rssBarBytes;
    return [
      `${values.kind} ${values.step}${values.way === 'straight' ? '' : `, ${values.way}`}`,
      values.tool,
      formatNumber(values.wallMs / 1000),
      formatNumber(values.bytes / 1000 / values.wallMs),
      isOurs
        ? ''
        : judged(
            ratio(values.wallMs, ours(values.way)?.wallMs),
            isJudged && values.way === 'straight' && values.tool === peer ? bar : undefined,
          ),
      isOurs && values.way === 'delayed' ? judged(ratio(ours('line')?.wallMs, values.wallMs), isJudged ? delayBar : undefined) : '',
      formatNumber(values.cpuMs / 1000),
      formatNumber(values.othersCpuMs / 1000),
      formatNumber(values.peakRssBytes / 1e6) + (isOver ? ' (≤ 419 no)' : ''),
    ];
  });
  const headers = ['step', 'tool', 'wall s', 'MB/s', 'ours × faster', 'of undelayed', 'CPU s', 'server CPU s', 'peak RSS MB'];
  return { table: formatTable(headers, rows), medians };
}

function judged(value: number, bar: number | undefined): string {
  if (Number.isNaN(value)) return '-';
  return bar === undefined ? value.toFixed(2) : `${value.toFixed(2)} (≥ ${bar} ${value >= bar ? 'ok' : 'no'})`;
}

type RunName = Pick<StorageRun, 'kind' | 'step' | 'way' | 'tool'>;

interface StorageMedians extends RunName {
  readonly bytes: number;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly othersCpuMs: number;
  readonly peakRssBytes: number;
}

function isSame(a: RunName, b: RunName): boolean {
  return a.kind === b.kind && a.step === b.step && a.way === b.way && a.tool === b.tool;
}

function mediansOf(all: readonly StorageRun[], { kind, step, way, tool }: RunName): StorageMedians[] {
  const runs = all.filter((run) => isSame(run, { kind, step, way, tool }));
  if (runs.length === 0) return [];
  return [
    {
      kind,
      step,
      way,
      tool,
      bytes: median(runs.map(({ bytes }) => bytes)),
      wallMs: median(runs.map(({ wallMs }) => wallMs)),
      cpuMs: median(runs.map(({ userMs, systemMs }) => userMs + systemMs)),
      othersCpuMs: median(runs.map(({ othersCpuMs }) => othersCpuMs)),
      peakRssBytes: median(runs.map(({ peakRssBytes }) => peakRssBytes)),
    },
  ];
}
