import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { basename, join, relative } from 'node:path';
import { createRepository } from '../../libs/engine/src/create-repository.ts';
import { openMemoryStorage } from '../../libs/storage/src/memory-storage.ts';
import type { Storage } from '../../libs/storage/src/storage.ts';
import { openFaultyLine, type FaultyLine } from '../../libs/storage/src/testing/faulty-line.ts';
import { compareTrees } from '../bench-engine/compare-trees.ts';
import { openDataFolder } from '../bench-engine/data-folder.ts';
import { measure, type Command } from '../bench/measured-run.ts';
import { touchMemory } from '../bench/touch-memory.ts';
import type { WorkFolder } from '../bench/work-folder.ts';
import { openPlace } from './open-place.ts';
import type { StorageRun, StorageStep, StorageTool, Way } from './storage-bars.ts';
import type { StorageBenchOptions } from './storage-bench-options.ts';
import { backupScale, makePacks, packCountOf } from './storage-data.ts';
import type { PlaceKind, PlaceServer, ResticPlace, StoragePlace } from './storage-place.ts';
import { repositoryPassword, type HoldfastStorage, type Rclone, type Restic } from './storage-tools.ts';

export interface StorageBench {
  readonly options: StorageBenchOptions;
  readonly work: WorkFolder;
  readonly holdfast: HoldfastStorage;
  readonly rclone: Rclone | null;
  readonly restics: readonly Restic[];
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

/** What a program has in memory beside the bytes that it moves. */
const programBytes = 500e6;

type Act = (place: StoragePlace, folder: string) => Command;

/** All steps of one kind. Each tool begins every other round, or every third one. */
export class KindRounds {
  readonly #bench: StorageBench;
  readonly #kind: PlaceKind;
  readonly #server: PlaceServer;
  readonly #runs: StorageRun[] = [];
  #round = 0;

  constructor(bench: StorageBench, kind: PlaceKind, server: PlaceServer) {
    this.#bench = bench;
    this.#kind = kind;
    this.#server = server;
  }

  async run(): Promise<readonly StorageRun[]> {
    await this.#warmUp();
    if (this.#wants('transfer up', 'transfer down')) await this.#transfers();
    if (this.#wants('backup', 'restore')) await this.#repositories();
    return this.#runs;
  }

  /** Our program once, with next to nothing: a worker compiles its code once in its life, and every step is to find it compiled. */
  async #warmUp(): Promise<void> {
    const { holdfast } = this.#bench;
    const folder = join(this.#bench.work.run, 'warm');
    makePacks(folder, 1);
    const [packs, repository] = [await this.#server.newPlace('transfer'), await this.#server.newPlace('repository')];
    await this.#makeRepository(repository);
    const commands = [
      holdfast.put(packs, folder),
      holdfast.get(packs, join(folder, 'got')),
      holdfast.backUp(repository, join(folder, 'data')),
      holdfast.restore(repository, join(folder, 'restored')),
    ];
    for (const command of commands) await measure(command, this.#measuring);
    rmSync(folder, { recursive: true });
    await this.#server.clear();
  }

  async #transfers(): Promise<void> {
    const { options, work, say } = this.#bench;
    const packs = join(work.run, 'packs');
    const bytes = makePacks(packs, packCountOf(options.sizeMb));
    const { transferPort } = this.#server;
    const line = options.delayMs === undefined || transferPort === undefined ? null : await openFaultyLine({ port: transferPort });
    if (options.delayMs !== undefined && line === null) say(`${this.#kind}: a line cannot stand before this server`);
    try {
      for (this.#round = 1; this.#round <= options.rounds; this.#round++) {
        await this.#transferBothWays(packs, bytes, 'straight');
        if (line === null) continue;
        for (const way of ['line', 'delayed'] as const) await this.#transferBothWays(packs, bytes, way, line);
      }
    } finally {
      await line?.[Symbol.asyncDispose]();
      rmSync(packs, { recursive: true });
    }
  }

  /** Every tool puts the packs into an empty place, and gets back what the last one of them has put. */
  async #transferBothWays(packs: string, bytes: number, way: Way, line?: FaultyLine): Promise<void> {
    const { holdfast, rclone, work, options } = this.#bench;
    line?.setDelayMs(way === 'delayed' ? (options.delayMs ?? 0) : 0);
    const tools: StorageTool[] = rclone === null ? ['holdfast'] : ['holdfast', 'rclone'];
    const act =
      (word: 'put' | 'get', tool: StorageTool): Act =>
      (place, folder) =>
        (tool === 'rclone' && rclone !== null ? rclone : holdfast)[word](place, folder);
    let place: StoragePlace | undefined;
    for (const tool of this.#inTurn(tools)) {
      await this.#server.clear();
      place = await this.#server.newPlace('transfer', line?.port);
      await this.#measure({ step: 'transfer up', way, tool, bytes }, act('put', tool)(place, packs));
      await this.#expectObjects(place, packs, tool);
    }
    for (const tool of this.#wants('transfer down') ? this.#inTurn(tools) : []) {
      if (place === undefined) break;
      const folder = join(work.run, 'got');
      await this.#measure({ step: 'transfer down', way, tool, bytes }, act('get', tool)(place, folder));
      expectPacks(folder, packs, tool);
      rmSync(folder, { recursive: true });
    }
    await this.#server.clear();
  }

  async #expectObjects(place: StoragePlace, packs: string, tool: StorageTool): Promise<void> {
    const expected = filesBelow(packs).map((path) => `${relative(packs, path)} ${statSync(path).size}`);
    const storage = await openPlace(place.ours);
    const found: string[] = [];
    for await (const { name, sizeBytes } of storage.list('', { signal: this.#bench.signal })) found.push(`${name} ${sizeBytes}`);
    await storage.close();
    if (expected.toSorted().join('\n') === found.toSorted().join('\n')) return;
    throw new Error(
      `${tool} did not put what it was given: ${found.length} objects of ${expected.length} are there, or their sizes differ`,
    );
  }

  async #repositories(): Promise<void> {
    const { options, work, say } = this.#bench;
    const folder = join(work.run, 'backed-up');
    const { tree, sizeBytes } = openDataFolder(folder, backupScale(options.sizeMb), say);
    for (this.#round = 1; this.#round <= options.rounds; this.#round++) {
      const round = join(work.run, 'round');
      mkdirSync(round);
      await this.#backUpAndRestore(tree, sizeBytes, round);
      rmSync(round, { recursive: true });
      await this.#server.clear();
    }
    rmSync(folder, { recursive: true });
  }

  async #backUpAndRestore(tree: string, bytes: number, round: string): Promise<void> {
    const { holdfast, restics, say } = this.#bench;
    const ours = await this.#server.newPlace('repository');
    const theirs = await this.#server.newPlace('repository');
    const restic = restics.find((each) => theirs.restic !== null && each.knows(theirs.restic));
    const cache = join(round, 'restic-cache');
    if (restics.length > 0 && restic === undefined) say(`${this.#kind}: no restic that is here knows such a server`);
    else if (restic !== undefined && restic !== restics[0])
      say(`${this.#kind}: by restic ${restic.version}, as ${restics[0]?.version ?? ''} knows no such server`);
    const resticPlace = theirs.restic;
    const tools: { tool: StorageTool; place: StoragePlace; backUp: Command; restore: Command }[] = [
      {
        tool: 'holdfast',
        place: ours,
        backUp: holdfast.backUp(ours, tree),
        restore: holdfast.restore(ours, join(round, 'restored-holdfast')),
      },
    ];
    if (restic !== undefined && resticPlace !== null) {
      tools.push({
        tool: 'restic',
        place: theirs,
        backUp: restic.backUp(resticPlace, cache, tree),
        restore: restic.restore(resticPlace, cache, join(round, 'restored-restic')),
      });
    }
    for (const { place } of tools) await this.#makeRepository(place);
    for (const { tool, place, backUp } of this.#inTurn(tools)) {
      await this.#measure({ step: 'backup', way: 'straight', tool, bytes }, backUp);
      if (restic !== undefined && place.restic !== null) await this.#check(restic, place.restic, join(round, `check-cache-${tool}`), tool);
    }
    for (const { tool, restore } of this.#wants('restore') ? this.#inTurn(tools) : []) {
      const target = join(round, `restored-${tool}`);
      mkdirSync(target);
      await this.#measure({ step: 'restore', way: 'straight', tool, bytes }, restore);
      const differences = compareTrees(tree, join(target, tree));
      if (differences.length > 0) throw new Error(`${tool} did not restore what it was given:\n${differences.join('\n')}`);
      rmSync(target, { recursive: true });
    }
  }

  /** Every byte of what we wrote, once; what the others wrote, and the rounds that follow, by what the packs say of themselves. */
  async #check(restic: Restic, place: ResticPlace, cache: string, tool: StorageTool): Promise<void> {
    await measure(restic.check(place, cache, tool === 'holdfast' && this.#round === 1), this.#measuring);
    rmSync(cache, { recursive: true, force: true });
  }

  /** An empty one; all have one key, so all cut at the same places. */
  async #makeRepository({ ours }: StoragePlace): Promise<void> {
    const empty = await emptyRepository();
    const storage = await openPlace(ours);
    const { signal } = this.#bench;
    for await (const { name } of empty.list('')) await storage.put(name, await empty.get(name), { signal });
    await storage.close();
  }

  async #measure(about: { step: StorageStep; way: Way; tool: StorageTool; bytes: number }, command: Command): Promise<void> {
    const { options, say } = this.#bench;
    touchMemory(about.bytes + programBytes);
    const busyBeforeMs = busyMs();
    const cost = await measure(command, this.#measuring);
    const cpuMs = cost.userMs + cost.systemMs;
    const othersCpuMs = Math.max(0, busyMs() - busyBeforeMs - cpuMs);
    // What another step needs first is not asked for by itself.
    if (this.#wants(about.step)) this.#runs.push({ kind: this.#kind, round: this.#round, ...about, ...cost, othersCpuMs });
    const { step, way, tool, bytes } = about;
    const speed = `${(cost.wallMs / 1000).toFixed(2)} s, ${(bytes / 1000 / cost.wallMs).toFixed(0)} MB/s`;
    const cpu = `CPU ${(cpuMs / 1000).toFixed(2)} s and the server's ${(othersCpuMs / 1000).toFixed(2)} s, ${(cost.peakRssBytes / 1e6).toFixed(0)} MB`;
    say(
      `${this.#kind}, round ${this.#round} of ${options.rounds}, ${step}${way === 'straight' ? '' : ` (${way})`}, ${tool}: ${speed}, ${cpu}`,
    );
  }

  #inTurn<T>(tools: readonly T[]): T[] {
    const first = (this.#round - 1) % tools.length;
    return [...tools.slice(first), ...tools.slice(0, first)];
  }

  #wants(...steps: readonly StorageStep[]): boolean {
    return steps.some((step) => this.#bench.options.steps.includes(step));
  }

  get #measuring() {
    return { folder: this.#bench.work.run, signal: this.#bench.signal };
  }
}

/** Processor time that all programs of the machine have had since it was started. */
function busyMs(): number {
  return cpus().reduce((sum, { times: { user, nice, sys, irq } }) => sum + user + nice + sys + irq, 0);
}

let madeRepository: Promise<Storage> | undefined;

function emptyRepository(): Promise<Storage> {
  return (madeRepository ??= (async () => {
    const storage = openMemoryStorage();
    await createRepository({ storage, password: repositoryPassword, hostname: 'bench', username: 'bench' });
    return storage;
  })());
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** All packs of `packs` and no others, each with the bytes that its name is the hash of. */
function expectPacks(folder: string, packs: string, tool: StorageTool): void {
  const [expected, found] = [packs, folder].map((each) =>
    filesBelow(each)
      .map((path) => relative(each, path))
      .toSorted(),
  );
  const isWhole = (path: string): boolean =>
    createHash('sha256')
      .update(readFileSync(join(folder, path)))
      .digest('hex') === basename(path);
  if (JSON.stringify(expected) === JSON.stringify(found) && found?.every(isWhole) === true) return;
  throw new Error(`${tool} did not get what was put`);
}
