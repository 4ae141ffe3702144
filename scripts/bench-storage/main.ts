// Measures storages at servers against rclone and restic: docs/benchmarks.md says what, how and how to read it.
import { chmodSync, writeFileSync } from 'node:fs';
import { readMachineFacts } from '../bench/machine-facts.ts';
import { openWorkFolder } from '../bench/work-folder.ts';
import { KindRounds } from './kind-rounds.ts';
import { summarizeStorage, type StorageRun } from './storage-bars.ts';
import { parseStorageBenchOptions, usage, type StorageBenchOptions } from './storage-bench-options.ts';
import type { PlaceKind, PlaceServer } from './storage-place.ts';
import { HoldfastStorage, Rclone, Restic } from './storage-tools.ts';

/** The data, a repository of each tool, a restored copy, and what a server has twice for a moment: times the data. */
const neededFactor = 6;

const starters: Readonly<Record<PlaceKind, (sizeMb: number) => Promise<PlaceServer>>> = {
  s3: async () => (await import('./s3-places.ts')).startS3Places(),
  azure_blob: async (sizeMb) => (await import('./azure-blob-places.ts')).startAzureBlobPlaces(sizeMb),
  sftp: async () => (await import('./sftp-places.ts')).startSftpPlaces(),
  ftp: async () => (await import('./ftp-places.ts')).startFtpPlaces(),
};

const say = (text: string): void => console.error(`bench: ${text}`);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));

const words = process.argv.slice(2);
try {
  if (words.includes('--help')) console.log(usage);
  else if (process.platform !== 'linux') throw new Error('the bench reads what the Linux kernel counts, and this is not Linux');
  // npm moves to the root of the checkout and leaves the caller's folder here.
  else await bench(parseStorageBenchOptions(words, process.env['INIT_CWD'] ?? process.cwd()));
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function bench(options: StorageBenchOptions): Promise<void> {
  const machine = readMachineFacts();
  const { signal } = interrupted;
  const startedAt = new Date();
  const { connections, delayMs, profile: profileFolder } = options;
  await using work = await openWorkFolder({ dir: options.dir, neededBytes: neededFactor * options.sizeMb * 1e6, say, signal });
  // Servers have their folders below it, and may run as others.
  chmodSync(work.run, 0o755);
  process.env['TMPDIR'] = work.run;
  const holdfast = new HoldfastStorage({ folder: work.run, connections, profileFolder });
  const rclone = options.peers ? Rclone.open(connections) : null;
  const restics = options.peers ? Restic.all(connections) : [];
  if (options.peers && rclone === null) say('there is no rclone to compare with: set RCLONE_BIN, or install it');
  if (options.peers && restics.length === 0) say('there is no restic to compare with: set RESTIC_BIN, or install it');

  const runs: StorageRun[] = [];
  const servers: string[] = [];
  for (const kind of options.kinds) {
    await using server = await starters[kind](options.sizeMb);
    servers.push(`${kind}: ${server.description}`);
    runs.push(...(await new KindRounds({ options, work, holdfast, rclone, restics, say, signal }, kind, server).run()));
  }
  const { table, medians } = summarizeStorage(runs);
  console.log(table);
  for (const line of servers) console.log(line);
  if (delayMs !== undefined) console.log(`delayed: every byte by ${delayMs} ms, each way`);
  const peers = { rclone: rclone?.version ?? '-', restic: restics.map(({ version }) => version).join(' and ') || '-' };
  const place = `${machine.cores} × ${machine.processor}, Linux ${machine.kernel}; load at the start ${machine.load.toFixed(2)}; in ${work.path}`;
  console.log(
    `${options.sizeMb} MB, ${connections} at once, ${options.rounds} rounds; rclone ${peers.rclone}, restic ${peers.restic}; Node ${machine.node}; ${place}`,
  );
  if (options.json === undefined) return;
  writeFileSync(options.json, `${JSON.stringify({ options, startedAt, machine, servers, peers, medians, runs }, null, 2)}\n`);
}
