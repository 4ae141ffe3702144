import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { BackupTool, Work } from './backup-tool.ts';
import { compareTrees } from './compare-trees.ts';
import { makeManyFiles } from './many-files.ts';
import { measure, type Cost } from '../bench/measured-run.ts';
import { formatNumber, formatTable } from '../bench/report-table.ts';
import type { BenchContext, ScenarioReport } from './scenario.ts';

const fileCounts = { full: [10_000, 100_000, 1_000_000], quick: [1_000, 10_000, 100_000] } as const;
/** Of our process, at every count. */
const peakRssBarBytes = 1024 ** 3;

interface ManyFilesRun extends Cost {
  readonly fileCount: number;
  readonly step: string;
  readonly tool: string;
}

/** Backup, unchanged backup and restore of 10,000, 100,000 and 1,000,000 mostly empty files: how time and memory grow with their number. */
export async function runMillion(context: BenchContext): Promise<ScenarioReport> {
  const { options, work, say } = context;
  const runs: ManyFilesRun[] = [];
  for (const fileCount of fileCounts[options.quick ? 'quick' : 'full']) {
    say(`making ${fileCount} files`);
    const tree = makeManyFiles(join(work.path, `files-${fileCount}`), fileCount);
    for (const tool of context.tools) {
      // The files of a million take gigabytes in a memory file system: one tool at a time.
      const folder = join(work.run, `files-${tool.name}`);
      mkdirSync(folder);
      runs.push(...(await runTool(context, tool, { tree, fileCount, folder })));
      rmSync(folder, { recursive: true });
    }
  }
  return report(runs);
}

async function runTool(
  { signal, say, work }: BenchContext,
  tool: BackupTool,
  { tree, fileCount, folder }: { tree: string; fileCount: number; folder: string },
): Promise<ManyFilesRun[]> {
  const [repository, target] = [join(folder, 'repository'), join(folder, 'restored')];
  await tool.makeRepository(repository);
  mkdirSync(target);
  const backup: Work = { kind: 'backup', folder: tree };
  const steps: [string, Work][] = [
    ['first backup', backup],
    ['unchanged backup', backup],
    ['restore', { kind: 'restore', target }],
  ];
  const runs: ManyFilesRun[] = [];
  for (const [step, task] of steps) {
    const cost = await measure(tool.commandFor(task, repository), { folder: work.run, signal });
    runs.push({ fileCount, step, tool: tool.name, ...cost });
    say(`${fileCount} files, ${step}, ${tool.name}: ${(cost.wallMs / 1000).toFixed(2)} s, ${Math.round(cost.peakRssBytes / 1e6)} MB`);
  }
  const differences = compareTrees(tree, join(target, tree));
  if (differences.length > 0) throw new Error(`${tool.name} did not restore what it was given:\n${differences.join('\n')}`);
  return runs;
}

function report(runs: readonly ManyFilesRun[]): ScenarioReport {
  const rows = runs.map(({ fileCount, step, tool, wallMs, userMs, systemMs, peakRssBytes }) => [
    step,
    tool,
    String(fileCount),
    formatNumber(wallMs / 1000),
    formatNumber((userMs + systemMs) / 1000),
    formatNumber(wallMs / (fileCount / 1000)),
    formatNumber(peakRssBytes / 1e6),
    tool === 'holdfast' ? (peakRssBytes < peakRssBarBytes ? 'ok' : 'no') : '',
  ]);
  const headers = ['step', 'tool', 'files', 'wall s', 'CPU s', 'ms per 1000', 'peak RSS MB', '< 1 GiB'];
  const notes = ['restored trees: every byte, mode, owner and time is back'];
  return { table: formatTable(headers, rows), notes, json: { runs, peakRssBarBytes } };
}
