// Measures what backup types and looking into snapshots cost: docs/benchmarks.md says what, how and how to read it.
import { writeFileSync } from 'node:fs';
import { readMachineFacts } from '../bench/machine-facts.ts';
import { formatNumber, formatTable } from '../bench/report-table.ts';
import { openWorkFolder } from '../bench/work-folder.ts';
import type { BenchRow, Figure } from './bench-row.ts';
import { parseTypesBenchOptions, usage, type RowName, type TypesBenchOptions } from './types-bench-options.ts';

/** One file a row. */
const rows: Readonly<Record<RowName, () => Promise<BenchRow>>> = {
  browse: async () => (await import('./browse-row.ts')).browseRow,
  download: async () => (await import('./download-row.ts')).downloadRow,
  logs: async () => (await import('./logs-row.ts')).logsRow,
  search: async () => (await import('./search-row.ts')).searchRow,
  served: async () => (await import('./served-row.ts')).servedRow,
};

/** The largest row has a file, its repository and a restored copy. */
const neededBytes = 4e9;
const smallNeededBytes = 4e8;

const say = (text: string): void => console.error(`bench: ${text}`);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));

const words = process.argv.slice(2);
try {
  if (words.includes('--help')) console.log(usage);
  // npm moves to the root of the checkout and leaves the caller's folder here.
  else await bench(parseTypesBenchOptions(words, process.env['INIT_CWD'] ?? process.cwd()));
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function bench(options: TypesBenchOptions): Promise<void> {
  const machine = readMachineFacts();
  const { signal } = interrupted;
  const startedAt = new Date();
  await using work = await openWorkFolder({ dir: options.dir, neededBytes: options.isSmall ? smallNeededBytes : neededBytes, say, signal });
  const figures: (Figure & { readonly row: RowName })[] = [];
  for (const name of options.rows) {
    signal.throwIfAborted();
    const row = await rows[name]();
    say(`${name}: ${row.description}`);
    const measured = await row.measure({ folder: work.run, isSmall: options.isSmall, rounds: options.rounds, say, signal });
    figures.push(...measured.map((figure) => ({ row: name, ...figure })));
  }
  const lines = figures.map(({ row, name, value, unit, bar }) => [row, name, formatNumber(value), unit, bar ?? '']);
  console.log(formatTable(['row', 'figure', 'value', 'unit', 'bar'], lines));
  const place = `${machine.cores} × ${machine.processor}, Linux ${machine.kernel}; load at the start ${machine.load.toFixed(2)}; in ${work.path}`;
  console.log(`${options.isSmall ? 'a tenth of the data; ' : ''}${options.rounds} rounds; Node ${machine.node}; ${place}`);
  if (options.json === undefined) return;
  writeFileSync(options.json, `${JSON.stringify({ options, startedAt, machine, figures }, null, 2)}\n`);
}
