// Measures the engine against restic (and borg): docs/benchmarks.md says what, how and how to read it.
import { writeFileSync } from 'node:fs';
import type { BackupTool } from './backup-tool.ts';
import { parseBenchOptions, usage, type BenchOptions, type ScenarioName } from './bench-options.ts';
import { openBorgTool } from './borg-tool.ts';
import { openHoldfastTool } from './holdfast-tool.ts';
import { runIndex } from './index-scenario.ts';
import { readMachineFacts } from '../bench/machine-facts.ts';
import { runMillion } from './million-scenario.ts';
import { openResticTool } from './restic-tool.ts';
import type { Scenario } from './scenario.ts';
import { runStandard } from './standard-scenario.ts';
import { runStream } from './stream-scenario.ts';
import { runWarm } from './warm-scenario.ts';
import { openWorkFolder } from '../bench/work-folder.ts';

/** With what it takes at most, in bytes: the data, a repository for each tool, a restored copy. */
const scenarios: Readonly<Record<ScenarioName, { run: Scenario; neededBytes: number }>> = {
  standard: { run: runStandard, neededBytes: 6e9 },
  warm: { run: runWarm, neededBytes: 1e9 },
  million: { run: runMillion, neededBytes: 8e9 },
  index: { run: runIndex, neededBytes: 1e9 },
  stream: { run: runStream, neededBytes: 4e9 },
};

const say = (text: string): void => console.error(`bench: ${text}`);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));

const words = process.argv.slice(2);
try {
  if (words.includes('--help')) console.log(usage);
  else if (process.platform !== 'linux') throw new Error('the bench reads what the Linux kernel counts, and this is not Linux');
  // npm moves to the root of the checkout and leaves the caller's folder here.
  else await bench(parseBenchOptions(words, process.env['INIT_CWD'] ?? process.cwd()));
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function bench(options: BenchOptions): Promise<void> {
  const machine = readMachineFacts();
  const { run, neededBytes } = scenarios[options.scenario];
  const { signal } = interrupted;
  await using work = await openWorkFolder({ dir: options.dir, neededBytes: options.quick ? neededBytes / 10 : neededBytes, say, signal });
  const tools = await openTools(options, work.run);
  const startedAt = new Date();
  const report = await run({ options, work, tools, say, signal });
  const versions = tools.map(({ name, version }) => `${name} ${version}`).join(', ');
  console.log(report.table);
  for (const note of report.notes) console.log(note);
  console.log(
    `${versions}; ${machine.cores} × ${machine.processor}, Linux ${machine.kernel}; load at the start ${machine.load.toFixed(2)}; in ${work.path}`,
  );
  if (options.json === undefined) return;
  const peers = tools.map(({ name, version }) => ({ name, version }));
  const { scenario, quick, rounds } = options;
  writeFileSync(
    options.json,
    `${JSON.stringify({ scenario, quick, rounds, startedAt, machine, tools: peers, ...report.json }, null, 2)}\n`,
  );
}

async function openTools({ tools: wanted, profile }: BenchOptions, folder: string): Promise<BackupTool[]> {
  const holdfast = await openHoldfastTool({ folder, ...(profile === undefined ? {} : { profileFolder: profile }) });
  const restic = wanted.includes('restic') ? await openResticTool(holdfast.makeRepository) : null;
  const borg = wanted.includes('borg') ? await openBorgTool(folder) : null;
  if (wanted.includes('restic') && restic === null) say('there is no restic to compare with: set RESTIC_BIN, or install it');
  return [...(wanted.includes('holdfast') ? [holdfast] : []), ...[restic, borg].filter((tool) => tool !== null)];
}
