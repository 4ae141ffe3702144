import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { ToolName } from './backup-tool.ts';

export const scenarioNames = ['standard', 'warm', 'million', 'index', 'stream'] as const;
export type ScenarioName = (typeof scenarioNames)[number];

export interface BenchOptions {
  readonly scenario: ScenarioName;
  readonly quick: boolean;
  readonly rounds: number;
  readonly tools: readonly ToolName[];
  readonly concurrency: number;
  readonly dir: string | undefined;
  readonly disk: string | undefined;
  readonly json: string | undefined;
  readonly profile: string | undefined;
}

export const usage = `npm run bench:engine -- [options]
  --scenario NAME    standard (the default), warm, million, index or stream
  --quick            a tenth of the data, for trying
  --rounds N         of the standard and the stream scenario (3)
  --tools A,B        holdfast, restic, borg; default: all that are here. restic is RESTIC_BIN or on the PATH
  --dir FOLDER       where data, repositories and restored files are; default: the memory file system when it has room
  --disk FOLDER      standard: restore there too
  --concurrency N    warm: backups at a time in our process (32)
  --json FILE        everything that was measured
  --cpu-prof FOLDER  a processor profile of every run of ours, which makes it slower`;

const toolNames: readonly ToolName[] = ['holdfast', 'restic', 'borg'];

/** Reads the command line; relative paths are those of `folder`. Throws an Error with a sentence for people. */
export function parseBenchOptions(args: readonly string[], folder: string): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: { type: 'string', default: 'standard' },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '3' },
      tools: { type: 'string', default: toolNames.join(',') },
      concurrency: { type: 'string', default: '32' },
      dir: { type: 'string' },
      disk: { type: 'string' },
      json: { type: 'string' },
      'cpu-prof': { type: 'string' },
    },
  });
  const path = (value: string | undefined): string | undefined => (value === undefined ? undefined : resolve(folder, value));
  return {
    scenario: oneOf(scenarioNames, values.scenario, 'scenario'),
    quick: values.quick,
    rounds: positive(values.rounds, 'rounds'),
    tools: values.tools.split(',').map((name) => oneOf(toolNames, name, 'tool')),
    concurrency: positive(values.concurrency, 'concurrency'),
    dir: path(values.dir),
    disk: path(values.disk),
    json: path(values.json),
    profile: path(values['cpu-prof']),
  };
}

function oneOf<T extends string>(known: readonly T[], value: string, what: string): T {
  const found = known.find((name) => name === value);
  if (found === undefined) throw new Error(`there is no ${what} ${value}: say ${known.join(', ')}`);
  return found;
}

function positive(value: string, what: string): number {
  if (!/^[1-9]\d{0,5}$/.test(value)) throw new Error(`--${what} takes a number from 1, not ${value}`);
  return Number(value);
}
