import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { placeKinds, type PlaceKind } from './storage-place.ts';
import { storageSteps, type StorageStep } from './storage-bars.ts';

export interface StorageBenchOptions {
  readonly kinds: readonly PlaceKind[];
  readonly steps: readonly StorageStep[];
  readonly sizeMb: number;
  readonly rounds: number;
  /** Calls at once: ours, rclone's transfers and restic's connections. */
  readonly connections: number;
  /** Each way; undefined for no line. */
  readonly delayMs: number | undefined;
  readonly peers: boolean;
  readonly dir: string | undefined;
  readonly json: string | undefined;
  readonly profile: string | undefined;
}

const fullSizeMb = 1_000;
const quickSizeMb = 100;

export const usage = `npm run bench:storage -- [options]
  --kinds A,B        s3, azure_blob, sftp, ftp (all)
  --steps A,B        transfer up, transfer down, backup, restore (all)
  --size MB          of packs, and of files to back up (1000)
  --quick            as --size 100 --rounds 1, for trying
  --rounds N         (3)
  --connections N    at once (8, as a storage has by default)
  --delay MS         also: transfers by a line on which every byte is so much later, each way
  --no-peers         ours alone
  --dir FOLDER       where data, servers and restored files are; default: the memory file system when it has room
  --json FILE        everything that was measured
  --cpu-prof FOLDER  a processor profile of every run of ours, which makes it slower`;

/** Reads the command line; relative paths are those of `folder`. Throws an Error with a sentence for people. */
export function parseStorageBenchOptions(args: readonly string[], folder: string): StorageBenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      kinds: { type: 'string', default: placeKinds.join(',') },
      steps: { type: 'string', default: storageSteps.join(',') },
      size: { type: 'string' },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      connections: { type: 'string', default: '8' },
      delay: { type: 'string' },
      'no-peers': { type: 'boolean', default: false },
      dir: { type: 'string' },
      json: { type: 'string' },
      'cpu-prof': { type: 'string' },
    },
  });
  const path = (value: string | undefined): string | undefined => (value === undefined ? undefined : resolve(folder, value));
  return {
    kinds: listed(values.kinds, placeKinds, 'kind'),
    steps: listed(values.steps, storageSteps, 'step'),
    sizeMb: positive(values.size ?? String(values.quick ? quickSizeMb : fullSizeMb), 'size'),
    rounds: positive(values.rounds ?? (values.quick ? '1' : '3'), 'rounds'),
    connections: positive(values.connections, 'connections'),
    delayMs: values.delay === undefined ? undefined : positive(values.delay, 'delay'),
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
