import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { contents, type Content } from './made-data.ts';
import { postgresSteps, type PostgresStep } from './postgres-bars.ts';

export interface PostgresBenchOptions {
  readonly sizeBytes: number;
  readonly rounds: number;
  readonly contents: readonly Content[];
  readonly steps: readonly PostgresStep[];
  /** Instead of the steps: pgbench for so long, with and without an archiver of WAL. */
  readonly walSeconds: number | undefined;
  readonly peers: boolean;
  readonly dir: string | undefined;
  readonly json: string | undefined;
  readonly profile: string | undefined;
}

const sizesMb = { small: 400, full: 2_000 } as const;

export const usage = `npm run bench:postgres -- [options]
  --size SIZE        small (400 MB), full (2 GB, the default) or a number of MB
  --quick            as --size 100 --rounds 1, for trying
  --rounds N         (3)
  --content A,B      compressibility: 2:1, 6:1 (both)
  --steps A,B        first full, second full, incremental, logical, restore and start (all)
  --wal SECONDS      instead: pgbench for so long a round, alone and while WAL is archived by a run every 5 seconds
  --no-peers         ours alone
  --dir FOLDER       where servers, repositories and restored folders are; default: the memory file system when it has room
  --json FILE        everything that was measured
  --cpu-prof FOLDER  a processor profile of every run of ours, which makes it slower`;

/** Reads the command line; relative paths are those of `folder`. Throws an Error with a sentence for people. */
export function parsePostgresBenchOptions(args: readonly string[], folder: string): PostgresBenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      size: { type: 'string' },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      content: { type: 'string', default: contents.join(',') },
      steps: { type: 'string', default: postgresSteps.join(',') },
      wal: { type: 'string' },
      'no-peers': { type: 'boolean', default: false },
      dir: { type: 'string' },
      json: { type: 'string' },
      'cpu-prof': { type: 'string' },
    },
  });
  const path = (value: string | undefined): string | undefined => (value === undefined ? undefined : resolve(folder, value));
  const size = values.size ?? (values.quick ? '100' : 'full');
  const sizeMb = size === 'small' || size === 'full' ? sizesMb[size] : positive(size, 'size');
  return {
    sizeBytes: sizeMb * 1e6,
    rounds: positive(values.rounds ?? (values.quick ? '1' : '3'), 'rounds'),
    contents: listed(values.content, contents, 'content'),
    steps: listed(values.steps, postgresSteps, 'step'),
    walSeconds: values.wal === undefined ? undefined : positive(values.wal, 'wal'),
    peers: !values['no-peers'],
    dir: path(values.dir),
    json: path(values.json),
    profile: path(values['cpu-prof']),
  };
}

function listed<T extends string>(value: string, known: readonly T[], what: string): T[] {
  return value.split(',').map((name) => {
    const found = known.find((each) => each === name);
    if (found === undefined) throw new Error(`there is no ${what} ${name}: say ${known.join(', ')}`);
    return found;
  });
}

function positive(value: string, what: string): number {
  if (!/^[1-9]\d{0,5}$/.test(value)) throw new Error(`--${what} takes a number from 1, not ${value}`);
  return Number(value);
}
