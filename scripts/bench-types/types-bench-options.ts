import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

const rowNames = ['browse', 'download', 'logs', 'search', 'served'] as const;

export type RowName = (typeof rowNames)[number];

export interface TypesBenchOptions {
  readonly rows: readonly RowName[];
  readonly isSmall: boolean;
  readonly rounds: number;
  readonly dir: string | undefined;
  readonly json: string | undefined;
}

export const usage = `npm run bench:types -- [options]
  --only A,B         ${rowNames.join(', ')} (all)
  --small            a tenth of the data, for trying
  --rounds N         (3)
  --dir FOLDER       where data and repositories are; default: the memory file system when it has room
  --json FILE        everything that was measured`;

/** Reads the command line; relative paths are those of `folder`. Throws an Error with a sentence for people. */
export function parseTypesBenchOptions(args: readonly string[], folder: string): TypesBenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', default: rowNames.join(',') },
      small: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '3' },
      dir: { type: 'string' },
      json: { type: 'string' },
    },
  });
  if (!/^[1-9]\d?$/.test(values.rounds)) throw new Error(`--rounds takes a number from 1 to 99, not ${values.rounds}`);
  const path = (value: string | undefined): string | undefined => (value === undefined ? undefined : resolve(folder, value));
  return {
    rows: values.only.split(',').map((name) => {
      const found = rowNames.find((each) => each === name);
      if (found === undefined) throw new Error(`there is no row ${name}: say ${rowNames.join(', ')}`);
      return found;
    }),
    isSmall: values.small,
    rounds: Number(values.rounds),
    dir: path(values.dir),
    json: path(values.json),
  };
}
