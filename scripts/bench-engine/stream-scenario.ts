import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { BackupTool } from './backup-tool.ts';
import { measure, type Cost } from '../bench/measured-run.ts';
import { formatNumber, formatTable } from '../bench/report-table.ts';
import { toolNamed, type BenchContext, type ScenarioReport } from './scenario.ts';
import { median, ratio } from '../bench/statistics.ts';
import { streamName } from './stream-source.ts';
import { makeContent } from './text-maker.ts';

const streamBytes = { full: 1_000_000_000, quick: 100_000_000 } as const;
const contents = ['sql', 'noise'] as const;
/** restic's wall time through ours, at least. */
const wallBar = 1.5;

interface StreamRun extends Cost {
  readonly content: string;
  readonly tool: string;
  readonly round: number;
}

/** One stream into an empty repository: what a database dump is. Against `restic backup --stdin`. */
export async function runStream(context: BenchContext): Promise<ScenarioReport> {
  const { options, say, work } = context;
  const sizeBytes = streamBytes[options.quick ? 'quick' : 'full'];
  const tools = context.tools.filter((tool) => tool.streamCommandFor !== undefined);
  const runs: StreamRun[] = [];
  for (const content of contents) {
    const file = makeStream(join(work.path, `stream-${content}-${sizeBytes}`), content, sizeBytes);
    for (let round = 0; round < options.rounds; round++) {
      // Each round begins with another one.
      for (const nth of tools.keys()) {
        const tool = tools[(nth + round) % tools.length];
        if (tool === undefined) continue;
        const cost = await runTool(context, tool, file, round === 0);
        runs.push({ content, tool: tool.name, round, ...cost });
        say(`${content}, ${tool.name}: ${(cost.wallMs / 1000).toFixed(2)} s, ${Math.round(cost.peakRssBytes / 1e6)} MB`);
      }
    }
  }
  return report(runs, sizeBytes);
}

function makeStream(path: string, content: (typeof contents)[number], sizeBytes: number): string {
  if (existsSync(path)) return path;
  const descriptor = openSync(`${path}.part`, 'w');
  for (const piece of makeContent(content, 'stream', sizeBytes)) writeSync(descriptor, piece);
  closeSync(descriptor);
  renameSync(`${path}.part`, path);
  return path;
}

async function runTool(context: BenchContext, tool: BackupTool, file: string, isChecked: boolean): Promise<Cost> {
  const { signal, work } = context;
  const [repository, target] = [join(work.run, 'stream-repository'), join(work.run, 'stream-target')];
  const command = tool.streamCommandFor?.(file, repository);
  if (command === undefined) throw new Error(`${tool.name} takes no stream`);
  await tool.makeRepository(repository);
  try {
    const cost = await measure(command, { folder: work.run, signal });
    if (isChecked) {
      // By stock restic where it is here, whoever wrote it.
      const checker = toolNamed(context, 'restic') ?? tool;
      mkdirSync(target);
      for (const task of [{ kind: 'check' }, { kind: 'restore', target }] as const)
        await measure(checker.commandFor(task, repository), { folder: work.run, signal });
      execFileSync('cmp', [file, join(target, streamName)]);
    }
    return cost;
  } finally {
    for (const path of [repository, target]) rmSync(path, { recursive: true, force: true });
  }
}

function report(runs: readonly StreamRun[], sizeBytes: number): ScenarioReport {
  const rows: string[][] = [];
  for (const content of contents) {
    const medianOf = (tool: string, value: (run: StreamRun) => number): number =>
      median(runs.filter((run) => run.content === content && run.tool === tool).map(value));
    for (const tool of new Set(runs.map((run) => run.tool))) {
      const values = [
        ({ wallMs }: StreamRun) => wallMs,
        (run: StreamRun) => run.userMs + run.systemMs,
        (run: StreamRun) => run.peakRssBytes,
      ];
      const [wallMs = 0, cpuMs = 0, rssBytes = 0] = values.map((value) => medianOf(tool, value));
      const [wall = 0, cpu = 0, rss = 0] = values.map((value) => ratio(medianOf(tool, value), medianOf('restic', value)));
      const isOurs = tool === 'holdfast';
      rows.push([
        content,
        tool,
        formatNumber(wallMs / 1000),
        formatNumber(sizeBytes / 1e3 / wallMs),
        isOurs ? `${(1 / wall).toFixed(2)} (≥ ${wallBar} ${1 / wall >= wallBar ? 'ok' : 'no'})` : '',
        formatNumber(cpuMs / 1000),
        isOurs ? formatNumber(cpu) : '',
        formatNumber(rssBytes / 1e6),
        isOurs ? formatNumber(rss) : '',
      ]);
    }
  }
  const headers = ['stream', 'tool', 'wall s', 'MB/s', '× faster', 'CPU s', '× CPU', 'peak RSS MB', '× RSS'];
  const notes = ['what every tool wrote was checked and restored, by restic where it is here, and every byte is back'];
  return { table: formatTable(headers, rows), notes, json: { runs, sizeBytes, wallBar } };
}
