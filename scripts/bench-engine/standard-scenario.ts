import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { BackupTool, ToolName, Work } from './backup-tool.ts';
import type { StepName } from './bars.ts';
import { compareTrees } from './compare-trees.ts';
import { openDataFolder, type DataFolder } from './data-folder.ts';
import { fullScale, quickScale } from './data-plan.ts';
import { measure, type Cost } from '../bench/measured-run.ts';
import { toolNamed, type BenchContext, type ScenarioReport } from './scenario.ts';
import { summarize } from './standard-summary.ts';
import { treeSizeBytes } from '../bench/tree-size.ts';

/** One run of one tool. */
export interface StepRun extends Cost {
  readonly round: number;
  readonly step: StepName;
  readonly tool: ToolName;
  /** After a step that wrote to the repository. */
  readonly repositorySizeBytes?: number;
}

/**
 * First backup, unchanged backup, backup after 1 % of the small files changed, check of all data, full restore. In each step the tools
 * follow each other at once, each round begins with another one, so that a slow minute of the machine hits all of them.
 */
export async function runStandard(context: BenchContext): Promise<ScenarioReport> {
  const { options, work, say } = context;
  const scale = options.quick ? quickScale : fullScale;
  const data = openDataFolder(join(work.path, `data-${scale.name}`), scale, say);
  const runs: StepRun[] = [];
  const verified: string[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    verified.push(...(await runRound(context, data, round, (run) => runs.push(run))));
  }
  return summarize({ runs, data, tools: context.tools, verified });
}

/** Returns what was verified, once, in the first round. */
async function runRound(context: BenchContext, data: DataFolder, round: number, record: (run: StepRun) => void): Promise<string[]> {
  const { options, work, signal, say } = context;
  const tools = context.tools.map((_, nth) => context.tools[(nth + round - 1) % context.tools.length]).filter((tool) => tool !== undefined);
  const folder = join(work.run, `round-${round}`);
  mkdirSync(folder);
  const repositoryOf = (tool: BackupTool): string => join(folder, `repository-${tool.name}`);
  const runStep = async (step: StepName, tool: BackupTool, task: Work): Promise<void> => {
    const cost = await measure(tool.commandFor(task, repositoryOf(tool)), { folder: work.run, signal });
    const size = task.kind === 'backup' ? { repositorySizeBytes: treeSizeBytes(repositoryOf(tool)) } : {};
    record({ round, step, tool: tool.name, ...cost, ...size });
    say(`round ${round} of ${options.rounds}, ${step}, ${tool.name}: ${(cost.wallMs / 1000).toFixed(2)} s`);
  };

  data.setVariant(0);
  for (const tool of tools) await tool.makeRepository(repositoryOf(tool));
  const backup: Work = { kind: 'backup', folder: data.tree };
  for (const tool of tools) await runStep('first backup', tool, backup);
  for (const tool of tools) await runStep('unchanged backup', tool, backup);
  data.setVariant(round);
  for (const tool of tools) await runStep('backup after 1 %', tool, backup);
  for (const tool of tools) await runStep('check all data', tool, { kind: 'check' });

  const verified = round === 1 ? await checkWithRestic(context, repositoryOf) : [];
  const places: [StepName, string | undefined][] = [
    ['restore', folder],
    ['restore to disk', options.disk],
  ];
  for (const [step, place] of places) {
    if (place === undefined) continue;
    for (const tool of tools) {
      const target = mkdtempSync(join(place, 'holdfast-bench-restored-'));
      try {
        // What earlier steps left to be written must not be charged to this one.
        if (step === 'restore to disk') await promisify(execFile)('sync');
        await runStep(step, tool, { kind: 'restore', target });
        if (round === 1) verified.push(verifyRestored(tool, step, data.tree, target));
      } finally {
        rmSync(target, { recursive: true, force: true });
      }
    }
  }
  rmSync(folder, { recursive: true });
  return verified;
}

/** restic's word on the repository that we wrote. Throws when it finds anything: figures of a broken backup are worth nothing. */
async function checkWithRestic(context: BenchContext, repositoryOf: (tool: BackupTool) => string): Promise<string[]> {
  const [ours, restic] = [toolNamed(context, 'holdfast'), toolNamed(context, 'restic')];
  if (ours === undefined || restic === undefined) return [];
  await measure(restic.commandFor({ kind: 'check' }, repositoryOf(ours)), { folder: context.work.run, signal: context.signal });
  return [`restic ${restic.version} check --read-data finds no error in the repository that holdfast wrote`];
}

function verifyRestored(tool: BackupTool, step: StepName, tree: string, target: string): string {
  const differences = compareTrees(tree, join(target, tree));
  if (differences.length > 0) throw new Error(`${tool.name} did not restore what it was given:\n${differences.join('\n')}`);
  return `${step} of ${tool.name}: every byte, mode, owner and time is back`;
}
